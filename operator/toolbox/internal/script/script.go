// Package script puts a step's text where its shell can read it, in any image.
//
// A file and not an argument: one argument is limited to 128 KiB, and every user could read it in the process list.
package script

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"
)

// Script is a text the shell opens under Path. File is set if the path only works in a process that has inherited it
// as descriptor InheritedAs.
type Script struct {
	Path string
	File *os.File
}

// InheritedAs is the first descriptor after the standard ones.
const InheritedAs = 3

// Write writes text to the first folder that takes it, or to memory if none does. Every user can read the result.
func Write(name, text string, folders []string) (*Script, error) {
	if len(text) == 0 || text[len(text)-1] != '\n' {
		text += "\n"
	}
	for _, folder := range folders {
		if folder == "" {
			continue
		}
		path := filepath.Join(folder, name)
		if err := writeFile(path, text); err == nil {
			return &Script{Path: path}, nil
		}
	}
	return writeMemory(name, text)
}

// Remove takes the script away again. Whoever has it open can read on.
func (s *Script) Remove() {
	if s.File != nil {
		s.File.Close()
		return
	}
	os.Remove(s.Path)
}

func writeFile(path, text string) (err error) {
	// What an earlier step may have put there must neither be followed nor run.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o444)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			os.Remove(path)
		}
	}()
	if err = file.Chmod(0o444); err != nil { // the umask does not apply
		return err
	}
	_, err = file.WriteString(text)
	return err
}

func writeMemory(name, text string) (*Script, error) {
	title, err := syscall.BytePtrFromString(name)
	if err != nil {
		return nil, err
	}
	const closeOnExec = 1
	fd, _, errno := syscall.Syscall(memfdCreate, uintptr(unsafe.Pointer(title)), closeOnExec, 0)
	if errno != 0 {
		return nil, fmt.Errorf("no folder to write the script to, and no memory file: %w", errno)
	}
	file := os.NewFile(fd, name)
	if _, err := file.WriteString(text); err != nil {
		file.Close()
		return nil, fmt.Errorf("cannot write the script to memory: %w", err)
	}
	return &Script{Path: fmt.Sprintf("/proc/self/fd/%d", InheritedAs), File: file}, nil
}
