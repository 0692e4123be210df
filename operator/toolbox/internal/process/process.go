// Package process starts a step's process and ends all it leaves behind.
//
// The toolbox is the parent of last resort in its container: it adopts every orphan and must wait for it. So children
// are waited for in one place, Children.Reap, and never through os/exec, which would compete for them.
package process

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	prSetParentDeathSignal = 1
	prSetDumpable          = 4
	prSetChildSubreaper    = 36
)

// Harden makes memory, environment and open files of this process unreadable for others in the container.
func Harden() error { return prctl(prSetDumpable, 0) }

// AdoptOrphans makes this process the parent of its descendants' orphans, which process 1 is anyway.
func AdoptOrphans() error { return prctl(prSetChildSubreaper, 1) }

// FollowParent has this process told to stop when parent ends, which must be the one that has started it. It says
// whether that is still there.
func FollowParent(parent int) (bool, error) {
	if err := prctl(prSetParentDeathSignal, uintptr(syscall.SIGTERM)); err != nil {
		return false, err
	}
	return os.Getppid() == parent, nil // it may have ended before
}

func prctl(option, value uintptr) error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, option, value, 0); errno != 0 {
		return os.NewSyscallError("prctl", errno)
	}
	return nil
}

// Command is what to start.
type Command struct {
	Path        string
	Arguments   []string // with the program's name
	Environment []string
	Dir         string
	Files       []*os.File
	Credential  *syscall.Credential // nil: as this process
}

// Start starts the command in a process group of its own, whose number is the pid.
func Start(c Command) (int, error) {
	files := make([]uintptr, len(c.Files))
	for i, file := range c.Files {
		files[i] = descriptor(file)
	}
	return syscall.ForkExec(c.Path, c.Arguments, &syscall.ProcAttr{
		Dir: c.Dir, Env: c.Environment, Files: files,
		Sys: &syscall.SysProcAttr{Setpgid: true, Credential: c.Credential},
	})
}

// descriptor is the file's number. File.Fd would make the file blocking.
func descriptor(file *os.File) (result uintptr) {
	raw, err := file.SyscallConn()
	if err != nil {
		return ^uintptr(0)
	}
	if raw.Control(func(fd uintptr) { result = fd }) != nil {
		return ^uintptr(0)
	}
	return result
}

// Signal sends to a step's process and to its group, which the process may have left: once to each, since many programs
// take a second one for impatience. Only for a process that has not been waited for: its number could belong to
// somebody else.
func Signal(pid int, signal syscall.Signal) {
	SignalGroup(pid, signal)
	if group, err := syscall.Getpgid(pid); err == nil && group != pid {
		_ = syscall.Kill(pid, signal)
	}
}

// SignalGroup sends to what is left of a step's process group.
func SignalGroup(pid int, signal syscall.Signal) {
	_ = syscall.Kill(-pid, signal) // who is gone needs no signal
}

// Children waits for this process's children, own and adopted.
type Children struct {
	ended map[int]syscall.WaitStatus
	main  int
}

// Expect says which child's end is worth remembering.
func (c *Children) Expect(pid int) {
	c.main, c.ended = pid, map[int]syscall.WaitStatus{}
}

// Reap waits for every child that has ended, without blocking, and says whether children are left.
func (c *Children) Reap() (left bool) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil: // ECHILD
			return false
		case pid == 0:
			return true
		}
		if pid == c.main {
			c.ended[pid] = status
		}
	}
}

// Status is how the expected child ended, if it has and has been reaped.
func (c *Children) Status() (syscall.WaitStatus, bool) {
	status, ended := c.ended[c.main]
	return status, ended
}

// ExitCode is the number a shell would give: 128 + n for a process killed by signal n.
func ExitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// KillAll ends everything that descends from this process and waits for it, for a bounded time: a process that hangs
// in the kernel cannot be ended. childEnded receives after each SIGCHLD.
func (c *Children) KillAll(childEnded <-chan os.Signal, patience time.Duration) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	// A process can fork while it is being looked for, without any child of ours ending.
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for c.Reap() {
		killDescendants()
		select {
		case <-childEnded:
		case <-again.C:
		case <-deadline.C:
			return
		}
	}
}

// AwaitGroup waits, for a bounded time, until a group that was killed has no member left.
func (c *Children) AwaitGroup(group int, childEnded <-chan os.Signal, patience time.Duration) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond) // a member can be somebody else's child
	defer again.Stop()
	for {
		c.Reap()
		if errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) {
			return
		}
		select {
		case <-childEnded:
		case <-again.C:
		case <-deadline.C:
			return
		}
	}
}

func killDescendants() {
	self := os.Getpid()
	if self == 1 {
		// Everything in the container but ourselves; also what came in by another way.
		_ = syscall.Kill(-1, syscall.SIGKILL)
		return
	}
	parents := parentsOfAll()
	for pid := range parents {
		for ancestor := parents[pid]; ancestor > 1; ancestor = parents[ancestor] {
			if ancestor == self {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				break
			}
		}
	}
}

// parentsOfAll maps every process to its parent.
func parentsOfAll() map[int]int {
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	result := make(map[int]int, len(files))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended since
		}
		// "pid (name) state ppid …"; the name may contain anything, also brackets.
		text := string(data)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		pid, pidErr := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if len(fields) < 2 || pidErr != nil {
			continue
		}
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			result[pid] = parent
		}
	}
	return result
}
