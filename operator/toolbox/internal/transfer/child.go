package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"runabout.dev/toolbox/internal/files"
)

const (
	setPipeSize = 1031    // F_SETPIPE_SZ, which syscall has no name for
	pipeSize    = 1 << 20 // the most that everybody may ask for
)

// failure is one of the step's own files or keys, and not of the storage.
type failure struct{ text string }

func (f *failure) Error() string { return f.text }

// child is a process that works on the step's files, as the step's user.
type child struct {
	command *exec.Cmd
	data    *os.File // this side of the pipe
	report  *os.File
}

// direction says who writes.
type direction int

const (
	nothing direction = iota
	fromChild
	toChild
)

// start starts a process for a job. Whoever gets it closes data, and then asks for its report.
func (t *transfer) start(ctx context.Context, job files.Job, flow direction) (*child, error) {
	input, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	reportRead, reportWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer reportWrite.Close()
	own, theirs, err := os.Pipe()
	if err != nil {
		reportRead.Close()
		return nil, err
	}
	widen(own)
	if flow == toChild {
		own, theirs = theirs, own
	}
	defer theirs.Close()
	// Not by its name: a step can have put something else there.
	command := exec.CommandContext(ctx, "/proc/self/exe", "files")
	command.Args[0] = "toolbox"
	command.Dir = t.options.Dir
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(input), t.log, t.log
	command.ExtraFiles = []*os.File{reportWrite, theirs}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: t.options.Credential}
	if err := command.Start(); err != nil {
		own.Close()
		reportRead.Close()
		return nil, fmt.Errorf("the process for the step's files cannot be started: %w", err)
	}
	return &child{command, own, reportRead}, nil
}

// widen has a pipe hold more than the usual 64 KiB, so that neither side waits for the other so often. Where the kernel
// does not want that (a user may have only so many wide ones), it is as it was.
func widen(pipe *os.File) {
	if raw, err := pipe.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, setPipeSize, pipeSize)
		})
	}
}

// end waits for the process and says what it has done.
func (c *child) end() (files.Report, error) {
	c.data.Close()
	text, readErr := io.ReadAll(c.report)
	c.report.Close()
	err := c.command.Wait()
	var report files.Report
	switch {
	case err != nil:
		return files.Report{}, &failure{fmt.Sprintf("the process for the step's files did not end well: %v", err)}
	case readErr != nil:
		return files.Report{}, readErr
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return files.Report{}, fmt.Errorf("the process for the step's files reports nothing that can be read: %w", err)
	}
	if report.Error != "" {
		return report, &failure{report.Error}
	}
	return report, nil
}

// render fills in keys, with the step's files and variables.
func (t *transfer) render(ctx context.Context, keys []string) ([]string, error) {
	worker, err := t.start(ctx, files.Job{Render: keys, Time: t.options.Started.Unix()}, nothing)
	if err != nil {
		return nil, err
	}
	report, err := worker.end()
	if err == nil && len(report.Keys) != len(keys) {
		err = errors.New("not all keys were filled in")
	}
	return report.Keys, err
}
