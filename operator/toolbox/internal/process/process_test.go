package process

import (
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what has to happen.
const patience = 20 * time.Second

// TestMain makes this process what the toolbox is: whoever loses its parent becomes its child.
func TestMain(m *testing.M) {
	if err := AdoptOrphans(); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// shell starts a script whose output goes to the returned file.
func shell(t *testing.T, text string) (int, *Output) {
	t.Helper()
	output, err := NewOutput(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(output.Close)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	pid, err := Start(Command{
		Path: "/bin/sh", Arguments: []string{"sh", "-c", text}, Environment: os.Environ(), Dir: "/",
		Files: []*os.File{null, output.Writer(), output.Writer()},
	})
	if err != nil {
		t.Fatal(err)
	}
	return pid, output
}

// ended waits for the expected child.
func ended(t *testing.T, children *Children, childEnded <-chan os.Signal) syscall.WaitStatus {
	t.Helper()
	deadline := time.After(patience)
	for {
		children.Reap()
		if status, over := children.Status(); over {
			return status
		}
		select {
		case <-childEnded:
		case <-deadline:
			t.Fatal("it does not end")
		}
	}
}

func news(t *testing.T) chan os.Signal {
	t.Helper()
	childEnded := make(chan os.Signal, 1)
	signal.Notify(childEnded, syscall.SIGCHLD)
	t.Cleanup(func() { signal.Stop(childEnded) })
	return childEnded
}

// buffer is written by one goroutine and read by another.
type buffer struct {
	mutex sync.Mutex
	text  bytes.Buffer
	grown chan struct{} // told of each write; may be nil
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	select {
	case b.grown <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.text.String()
}

func TestEndsAreTheNumbersThatAShellGives(t *testing.T) {
	childEnded := news(t)
	for text, want := range map[string]int{"exit 0": 0, "exit 77": 77, "kill -KILL $$": 137, "kill -TERM $$": 143} {
		var children Children
		pid, _ := shell(t, text)
		children.Expect(pid)
		if got := ExitCode(ended(t, &children, childEnded)); got != want {
			t.Errorf("%s ends with %d, want %d", text, got, want)
		}
	}
}

func TestBothOutputsComeInTheOrderOfTheWrites(t *testing.T) {
	childEnded := news(t)
	var children Children
	pid, output := shell(t, "for i in 1 2 3 4; do echo $i; echo $i >&2; done; echo to the file > /dev/stderr")
	children.Expect(pid)
	var got buffer
	output.CopyTo(&got)
	ended(t, &children, childEnded)
	<-output.Copied()
	if want := "1\n1\n2\n2\n3\n3\n4\n4\nto the file\n"; got.String() != want {
		t.Errorf("got %q", got.String())
	}
}

func TestOutputCanBeCutWhileSomebodyStillHoldsIt(t *testing.T) {
	childEnded := news(t)
	var children Children
	pid, output := shell(t, "setsid sleep 600 & echo before")
	children.Expect(pid)
	var got buffer
	output.CopyTo(&got)
	ended(t, &children, childEnded)
	if err := output.Cut(&got); err != nil {
		t.Fatal(err)
	}
	if got.String() != "before\n" {
		t.Errorf("got %q", got.String())
	}
	children.KillAll(childEnded, patience)
	if children.Reap() {
		t.Error("the sleeper is still there")
	}
}

func TestOrphansAreReapedAndNoneIsLeft(t *testing.T) {
	childEnded := news(t)
	var children Children
	// A child of its own session, a grandchild whose parent ends first, one that ignores signals, one that forks on.
	pid, output := shell(t, `
		setsid sh -c 'trap "" TERM HUP; while :; do sleep 1; done' &
		sh -c 'sleep 600 & sleep 600 &'
		for i in 1 2 3 4 5 6 7 8; do sh -c 'true & true &'; done
		exit 5`)
	children.Expect(pid)
	output.CopyTo(&buffer{})
	if got := ExitCode(ended(t, &children, childEnded)); got != 5 {
		t.Errorf("the shell ended with %d", got)
	}
	children.KillAll(childEnded, patience)
	if left := childrenOf(t, os.Getpid()); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func childrenOf(t *testing.T, parent int) []string {
	t.Helper()
	var found []string
	for pid, of := range parentsOfAll() {
		if of == parent {
			name, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
			found = append(found, strings.TrimSpace(string(name)))
		}
	}
	return found
}

func TestASignalReachesTheWholeGroup(t *testing.T) {
	childEnded := news(t)
	var children Children
	pid, output := shell(t, `trap 'wait; echo outer; exit 3' TERM
		sh -c 'trap "echo inner; exit" TERM; sleep 600 & echo ready; wait' & wait`)
	children.Expect(pid)
	got := buffer{grown: make(chan struct{}, 1)}
	output.CopyTo(&got)
	deadline := time.After(patience)
	for got.String() != "ready\n" {
		select {
		case <-got.grown:
		case <-deadline:
			t.Fatalf("not ready: %q", got.String())
		}
	}
	Signal(pid, syscall.SIGTERM)
	if code := ExitCode(ended(t, &children, childEnded)); code != 3 {
		t.Errorf("it ended with %d", code)
	}
	// A sleeper that got the signal between its fork and its exec lives on.
	SignalGroup(pid, syscall.SIGKILL)
	<-output.Copied()
	if got.String() != "ready\ninner\nouter\n" {
		t.Errorf("got %q", got.String())
	}
}

func TestAHardenedProcessCannotBeLookedInto(t *testing.T) {
	if os.Getenv("RUNABOUT_TEST_HARDENED") != "" {
		if err := Harden(); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("hard\n")
		var end [1]byte
		_, _ = os.Stdin.Read(end[:])
		return
	}
	secret := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	secret.Env = append(os.Environ(), "RUNABOUT_TEST_HARDENED=1")
	in, err := secret.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := secret.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := secret.Start(); err != nil {
		t.Fatal(err)
	}
	var line [5]byte
	if n, err := out.Read(line[:]); err != nil || string(line[:n]) != "hard\n" {
		t.Fatalf("it says %q (%v)", line[:n], err)
	}
	// /proc/PID belongs to root from then on, so an ordinary process of the same user cannot read it.
	info, err := os.Stat("/proc/" + strconv.Itoa(secret.Process.Pid) + "/environ")
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("its files belong to %v (%v)", info.Sys(), err)
	}
	in.Close()
	if err := secret.Wait(); err != nil {
		t.Error(err)
	}
}
