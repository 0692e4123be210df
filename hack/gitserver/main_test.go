package main

import (
	"crypto/ed25519"
	"encoding/pem"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-git/v5"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"github.com/go-git/go-git/v5/storage/memory"
	"golang.org/x/crypto/ssh"
)

// volume is a folder as Kubernetes mounts a ConfigMap: files are links into a hidden folder.
func volume(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	hidden := filepath.Join(folder, "..2026")
	if err := os.Mkdir(hidden, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..2026", filepath.Join(folder, "..data")); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(hidden, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// realGit runs it against a server with a certificate of its own.
func realGit(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	command := exec.Command("git", append([]string{"-c", "http.sslVerify=false"}, arguments...)...)
	command.Env = append(os.Environ(), "HOME="+t.TempDir(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1")
	out, err := command.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func serve(t *testing.T, folder string) string {
	t.Helper()
	repository, err := repositoryOf(folder)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(guarded("anna", "secret", handler("web.git", repository)))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "https://") + "/web.git"
}

func TestAVolumesFilesAreOneCommitThatGitClones(t *testing.T) {
	address := serve(t, volume(t, map[string]string{"run": "#!/bin/sh\necho hello\n", "README": "text\n"}))
	folder := filepath.Join(t.TempDir(), "web")
	if out, err := realGit(t, "clone", "https://anna:secret@"+address, folder); err != nil {
		t.Fatalf("git clone: %v: %s", err, out)
	}
	if out, _ := realGit(t, "-C", folder, "status", "--porcelain", "--branch"); out != "## main...origin/main" {
		t.Errorf("the checkout is %q", out)
	}
	if out, _ := realGit(t, "-C", folder, "ls-files", "--stage"); !strings.Contains(out, "100644") || !strings.Contains(out, "100755") || strings.Contains(out, "..") {
		t.Errorf("the files are %q", out)
	}
	if out, err := realGit(t, "-C", folder, "fsck", "--full", "--strict"); err != nil {
		t.Errorf("git fsck: %s", out)
	}
}

// keyPair writes a private key and, beside it, the public one as a line.
func keyPair(t *testing.T, file string) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{file: pem.EncodeToMemory(block), file + ".pub": ssh.MarshalAuthorizedKey(signer.PublicKey())} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return signer
}

func TestOverSSHWhoeverHasTheKeyClonesTheSame(t *testing.T) {
	folder, keys := volume(t, map[string]string{"README": "text\n"}), t.TempDir()
	host, anna, eve := filepath.Join(keys, "host"), filepath.Join(keys, "anna"), filepath.Join(keys, "eve")
	keyPair(t, host)
	signers := map[string]ssh.Signer{anna: keyPair(t, anna), eve: keyPair(t, eve)}
	repository, err := repositoryOf(folder)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := sshSettings(host, anna+".pub")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() { _ = serveSSH(listener, settings, "web.git", repository) }()
	head := func(who, name string) (string, error) {
		login := &gitssh.PublicKeys{User: "git", Signer: signers[who]}
		login.HostKeyCallback = ssh.InsecureIgnoreHostKey() // it is ours
		url := "ssh://git@" + listener.Addr().String() + "/" + name
		cloned, err := git.Clone(memory.NewStorage(), memfs.New(), &git.CloneOptions{URL: url, Auth: login})
		if err != nil {
			return "", err
		}
		reference, err := cloned.Head()
		if err != nil {
			return "", err
		}
		return reference.Hash().String() + "\t" + reference.Name().String(), nil
	}
	overHTTPS, err := realGit(t, "ls-remote", "https://anna:secret@"+serve(t, folder), "refs/heads/main")
	if err != nil {
		t.Fatal(overHTTPS, err)
	}
	if got, err := head(anna, "web.git"); err != nil || got != overHTTPS {
		t.Errorf("got %q and not %q: %v", got, overHTTPS, err)
	}
	for who, name := range map[string]string{eve: "web.git", anna: "other.git"} {
		if got, err := head(who, name); err == nil {
			t.Errorf("%s got %q of %s", who, got, name)
		}
	}
}

func TestTheSameFilesAreTheSameCommit(t *testing.T) {
	var heads []string
	for range 2 {
		address := serve(t, volume(t, map[string]string{"README": "text\n", "b": "b"}))
		out, err := realGit(t, "ls-remote", "https://anna:secret@"+address, "refs/heads/main")
		if err != nil {
			t.Fatalf("git ls-remote: %v: %s", err, out)
		}
		heads = append(heads, out)
	}
	if heads[0] == "" || heads[0] != heads[1] {
		t.Errorf("the commits differ: %q", heads)
	}
}

func TestNobodyElseIsLetIn(t *testing.T) {
	address := serve(t, volume(t, map[string]string{"README": "text\n"}))
	for _, who := range []string{"", "anna:wrong@", "ben:secret@", "anna:secre@"} {
		if out, err := realGit(t, "ls-remote", "https://"+who+address); err == nil {
			t.Errorf("%q got %q", who, out)
		}
	}
}

func TestAFolderWithoutFilesIsRefused(t *testing.T) {
	if _, err := repositoryOf(t.TempDir()); err == nil {
		t.Error("an empty folder was served")
	}
}
