package script

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAScriptIsReadableForAllAndEndsWithANewline(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	folder := t.TempDir()
	made, err := Write("step-0", "echo one", []string{"", "/does/not/exist", folder})
	if err != nil {
		t.Fatal(err)
	}
	if made.Path != filepath.Join(folder, "step-0") || made.File != nil {
		t.Errorf("it is at %s", made.Path)
	}
	text, err := os.ReadFile(made.Path)
	if err != nil || string(text) != "echo one\n" {
		t.Errorf("it holds %q (%v)", text, err)
	}
	if info, err := os.Stat(made.Path); err != nil || info.Mode() != 0o444 {
		t.Errorf("its mode is %v (%v)", info.Mode(), err)
	}
	made.Remove()
	if _, err := os.Stat(made.Path); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestWhatAnEarlierStepPutThereIsNeitherFollowedNorRun(t *testing.T) {
	folder, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(folder, "step-1")); err != nil {
		t.Fatal(err)
	}
	made, err := Write("step-1", "true\n", []string{folder})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(made.Path); err != nil || !info.Mode().IsRegular() {
		t.Errorf("it is a %v (%v)", info.Mode(), err)
	}
	if text, err := os.ReadFile(victim); err != nil || string(text) != "untouched" {
		t.Errorf("the other file holds %q (%v)", text, err)
	}
}

func TestWithoutAFolderTheScriptIsInMemory(t *testing.T) {
	long := strings.Repeat("# a long script\n", 100_000) // more than an argument can hold
	made, err := Write("step-2", long, []string{"/does/not/exist"})
	if err != nil {
		t.Fatal(err)
	}
	if made.Path != "/proc/self/fd/3" || made.File == nil {
		t.Fatalf("it is at %s", made.Path)
	}
	files := []uintptr{0, 1, 2, made.File.Fd()}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	files[1] = write.Fd()
	pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", "wc -c < " + made.Path}, &syscall.ProcAttr{Files: files, Env: os.Environ()})
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	var answer [64]byte
	n, err := read.Read(answer[:])
	if err != nil || strings.TrimSpace(string(answer[:n])) != "1600000" {
		t.Errorf("a child reads %q bytes (%v)", answer[:n], err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || status.ExitStatus() != 0 {
		t.Errorf("the child ended with %v (%v)", status, err)
	}
	made.Remove()
	if _, err := made.File.Stat(); err == nil {
		t.Error("it is still open")
	}
}
