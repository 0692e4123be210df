package checkout

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"runabout.dev/toolbox/clone/internal/remote"
)

// TestMain has the certificate of all servers of net/http/httptest trusted, as an image has its own.
func TestMain(m *testing.M) {
	server := httptest.NewTLSServer(nil)
	folder, err := os.MkdirTemp("", "runabout-clone-")
	if err != nil {
		panic(err)
	}
	file := filepath.Join(folder, "ca.pem")
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	server.Close()
	if err := os.WriteFile(file, authority, 0o600); err != nil {
		panic(err)
	}
	os.Setenv("SSL_CERT_FILE", file)
	// The tests' git is alone with what they tell it.
	os.Setenv("HOME", folder)
	os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	// A network without name servers would be asked for minutes.
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("the tests have no name server")
	}}
	remote.Install()
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

// gitIn runs the real one and returns what it prints.
func gitIn(t *testing.T, folder string, arguments ...string) string {
	t.Helper()
	command := exec.Command("git", append([]string{"-C", folder, "-c", "protocol.file.allow=always", "-c", "user.name=A", "-c", "user.email=a@example.org"}, arguments...)...)
	var failure bytes.Buffer
	command.Stderr = &failure
	out, err := command.Output()
	if err != nil {
		t.Fatalf("git %s: %v: %s", strings.Join(arguments, " "), err, failure.String())
	}
	return strings.TrimSpace(string(out))
}

// commitFile writes a file, commits it and returns the commit.
func commitFile(t *testing.T, folder, name, text string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	gitIn(t, folder, "add", "-A")
	gitIn(t, folder, "commit", "-qm", "Change "+name)
	return gitIn(t, folder, "rev-parse", "HEAD")
}

// repository makes root/name, with a branch main of one commit.
func repository(t *testing.T, root, name string) string {
	t.Helper()
	folder := filepath.Join(root, name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	gitIn(t, folder, "init", "-q", "-b", "main")
	commitFile(t, folder, "README", "first\n")
	return folder
}

// overHTTP serves the repositories below root as real servers do.
func overHTTP(t *testing.T, root string) http.Handler {
	t.Helper()
	command := exec.Command("git", "--exec-path")
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	return &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + os.Getenv("HOME"),
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
		Stderr: io.Discard,
	}
}

// guarded lets in who has name and password, and remembers who tried.
type guarded struct {
	http.Handler
	mutex sync.Mutex
	tried []string
}

func (g *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, given := r.BasicAuth()
	g.mutex.Lock()
	if given {
		g.tried = append(g.tried, user+":"+password)
	}
	g.mutex.Unlock()
	if g.Handler == nil || user != "anna" || password != "s3cret-password" {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	g.Handler.ServeHTTP(w, r)
}

func started(t *testing.T, server *httptest.Server) string {
	t.Helper()
	t.Cleanup(server.Close)
	return server.URL
}

// result of one clone.
type result struct {
	folder string
	output string
	pauses int
	err    error
}

func cloned(t *testing.T, request Request) *result {
	t.Helper()
	got := &result{folder: request.Folder}
	if got.folder == "" {
		got.folder = filepath.Join(t.TempDir(), "new", "folder")
		request.Folder = got.folder
	}
	var output bytes.Buffer
	got.err = Run(t.Context(), request, &output, func(time.Duration) { got.pauses++ })
	got.output = output.String()
	return got
}

// sound checks that git itself sees a clean checkout of a commit.
func (r *result) sound(t *testing.T, commit string) {
	t.Helper()
	if r.err != nil {
		t.Fatalf("%v; output: %s", r.err, r.output)
	}
	if got := gitIn(t, r.folder, "rev-parse", "HEAD"); got != commit {
		t.Errorf("HEAD is %s, want %s", got, commit)
	}
	if got := gitIn(t, r.folder, "status", "--porcelain"); got != "" {
		t.Errorf("the files differ from the commit: %s", got)
	}
	gitIn(t, r.folder, "fsck", "--full", "--strict")
	if !strings.Contains(r.output, "HEAD is "+commit) {
		t.Errorf("the output does not say the commit: %s", r.output)
	}
}

// key is a new key for ssh, as a Secret has it.
func key(t *testing.T, passphrase string) (string, ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), signer
}

// sshServer serves the repositories below a folder to whoever has a key.
type sshServer struct {
	address    string // host:port
	knownHosts string
}

func overSSH(t *testing.T, root string, allowed ssh.PublicKey) *sshServer {
	t.Helper()
	_, host := key(t, "")
	settings := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(offered.Marshal(), allowed.Marshal()) {
			return nil, fmt.Errorf("unknown key")
		}
		return &ssh.Permissions{}, nil
	}}
	settings.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go serveSSH(connection, settings, root)
		}
	}()
	address := listener.Addr().String()
	return &sshServer{address, "# of the test\n" + knownhosts.Line([]string{address}, host.PublicKey()) + "\n"}
}

func serveSSH(connection net.Conn, settings *ssh.ServerConfig, root string) {
	defer connection.Close()
	_, channels, requests, err := ssh.NewServerConn(connection, settings)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		for request := range requests {
			if request.Type != "exec" {
				_ = request.Reply(false, nil)
				continue
			}
			_ = request.Reply(true, nil)
			var payload struct{ Command string }
			_ = ssh.Unmarshal(request.Payload, &payload)
			path := strings.Trim(strings.TrimPrefix(payload.Command, "git-upload-pack "), "'")
			command := exec.Command("git", "-c", "safe.directory=*", "upload-pack", filepath.Join(root, path))
			command.Stdout, command.Stderr = channel, channel.Stderr()
			input, err := command.StdinPipe() // whose end Wait does not wait for: the client ends it later
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(input, channel)
				input.Close()
			}()
			status := uint32(0)
			if err := command.Run(); err != nil {
				status = 128
			}
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
			channel.Close()
		}
	}
}
