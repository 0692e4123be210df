package install

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

func TestTheRunningProgramIsCopiedAndCanBeExecutedByAll(t *testing.T) {
	folder := t.TempDir()
	defer syscall.Umask(syscall.Umask(0o077))
	for range 2 { // a repeated init container is harmless
		if err := To(folder); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(folder, Name))
	if err != nil || !bytes.Equal(got, self) {
		t.Errorf("the copy differs (%v)", err)
	}
	if info, err := os.Stat(filepath.Join(folder, Name)); err != nil || info.Mode() != 0o755 {
		t.Errorf("its mode is %v (%v)", info.Mode(), err)
	}
	if left := entries(t, folder); len(left) != 1 {
		t.Errorf("the folder holds %v", left)
	}
}

func TestAnEarlierCopyMayBeExecutedMeanwhile(t *testing.T) {
	folder := t.TempDir()
	if err := To(folder); err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile(filepath.Join(folder, Name), os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	before, err := program.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := To(folder); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(program.Name()); err != nil || os.SameFile(before, after) {
		t.Error("the copy was written over instead of replaced: a program that runs cannot be written to")
	}
}

func TestACopyThatFailsLeavesNothingBehind(t *testing.T) {
	folder := t.TempDir()
	full := errors.New("no space left on device")
	err := copyTo(iotest.ErrReader(full), folder, Name)
	if !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if left := entries(t, folder); len(left) != 0 {
		t.Errorf("the folder holds %v", left)
	}
}

func TestAFolderThatIsNotThereIsNamed(t *testing.T) {
	if err := To("/does/not/exist"); err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("got %v", err)
	}
}

func TestAProgramBesideTheRunningOneIsCopiedIfItIsThere(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	beside := filepath.Join(filepath.Dir(self), Clone)
	if err := os.WriteFile(beside, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := Beside(folder, Clone); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(folder, Clone)); err != nil || info.Mode() != 0o755 || info.Size() != 7 {
		t.Errorf("it is %v (%v)", info, err)
	}
	if err := os.Remove(beside); err != nil {
		t.Fatal(err)
	}
	if err := Beside(folder, Clone); err == nil || !strings.Contains(err.Error(), Clone) {
		t.Errorf("got %v", err)
	}
}

func entries(t *testing.T, folder string) []os.DirEntry {
	t.Helper()
	found, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
