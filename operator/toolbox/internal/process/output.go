package process

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// Output is a step's standard output and standard error: one pipe, so that the order of the writes is kept.
type Output struct {
	read, write *os.File
	copied      chan struct{}
	cut         bool
}

const (
	copyBuffer = 64 << 10
	// pipeSize makes the two sides take turns less often; more than the kernel grants by default is no gain.
	pipeSize   = 256 << 10
	fSetPipeSz = 1031
	fionread   = 0x541b
)

// NewOutput makes the pipe. Owner may open it again by name (/dev/stdout), which a pipe's mode reserves for its owner.
func NewOutput(owner *syscall.Credential) (*Output, error) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	// Refused where the user has many pipes: it is only for speed.
	_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, uintptr(fds[1]), fSetPipeSz, pipeSize)
	if owner != nil {
		_ = syscall.Fchown(fds[1], int(owner.Uid), int(owner.Gid)) // without it only /dev/stdout does not work
	}
	// Only the end that stays here: programs do not expect a standard output that does not block.
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &Output{
		read:   os.NewFile(uintptr(fds[0]), "output"),
		write:  os.NewFile(uintptr(fds[1]), "output"),
		copied: make(chan struct{}),
	}, nil
}

// Writer is the end for the step.
func (o *Output) Writer() *os.File { return o.write }

// CopyTo gives back the step's end, which the step has inherited by now, and copies until nobody holds it any more.
func (o *Output) CopyTo(target io.Writer) {
	o.write.Close()
	go func() {
		defer close(o.copied)
		buffer := make([]byte, copyBuffer)
		for {
			n, err := o.read.Read(buffer)
			if n > 0 {
				_, _ = target.Write(buffer[:n]) // the target remembers its own failure
			}
			if err != nil {
				return
			}
		}
	}()
}

// Copied is closed when the last holder of the step's end has gone, or after Cut.
func (o *Output) Copied() <-chan struct{} { return o.copied }

// Cut copies what is in the pipe now and no more, whoever still holds it. What comes later is read and dropped: without a
// reader whoever writes it would be killed, or wait for ever.
func (o *Output) Cut(target io.Writer) error {
	if err := o.read.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	<-o.copied
	raw, err := o.read.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = raw.Control(func(fd uintptr) { failure = copyPresent(int(fd), target) })
	if err := errors.Join(err, failure, o.read.SetReadDeadline(time.Time{})); err != nil {
		return err
	}
	o.cut = true
	go func() {
		defer o.read.Close()
		_, _ = io.Copy(io.Discard, o.read)
	}()
	return nil
}

// Close gives back what is left.
func (o *Output) Close() {
	o.write.Close()
	if !o.cut {
		o.read.Close()
	}
}

func copyPresent(fd int, target io.Writer) error {
	var present int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), fionread, uintptr(unsafe.Pointer(&present)))
	if errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	buffer := make([]byte, copyBuffer)
	for present > 0 {
		n, err := syscall.Read(fd, buffer[:min(int(present), len(buffer))])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN) || n == 0 && err == nil:
			return nil
		case err != nil:
			return os.NewSyscallError("read", err)
		}
		_, _ = target.Write(buffer[:n])
		present -= int32(n)
	}
	return nil
}
