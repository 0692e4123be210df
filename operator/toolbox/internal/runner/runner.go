// Package runner runs a plan from the first line of the log to the summary.
//
// What always holds: the nonce is on standard output before any user code runs and nowhere else in the container; a step
// runs only if every earlier one succeeded, and only once in a pod; the summary is written when no process but this one is left.
package runner

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"runabout.dev/toolbox/internal/identity"
	"runabout.dev/toolbox/internal/mask"
	"runabout.dev/toolbox/internal/plan"
	"runabout.dev/toolbox/internal/process"
	"runabout.dev/toolbox/internal/spool"
	"runabout.dev/toolbox/internal/steplog"
	"runabout.dev/toolbox/internal/summary"
)

const (
	exitTimeout = 124 // as timeout(1)
	exitOwn     = 125 // as container runtimes, for what is not the step's own failure
	exitStopped = 128 + int(syscall.SIGTERM)

	// drainTime is how long a process that outlives its step may usually still write to the step's log.
	drainTime = time.Second
	// killPatience is how long the end of killed processes is waited for.
	killPatience = 5 * time.Second

	// firstFree is the first real-time signal that no C library keeps for itself; systemd's images stop by SIGRTMIN+3.
	firstFree  = syscall.Signal(35)
	lastSignal = syscall.Signal(64)
)

// Options are the command line's.
type Options struct {
	Version        string
	PlanFile       string
	TerminationLog string
	Parent         int           // 0 in a container; else the process whose end is a stop
	DrainTime      time.Duration // how long a process that outlives its step may still write to its log; 0 for the usual time
}

// task is one run of a plan.
type task struct {
	plan         *plan.Plan
	planFile     string
	log          *steplog.Log
	users        identity.Database
	environment  []string     // the container's
	secrets      *mask.Mask   // nil for none
	spool        *spool.Spool // nil without a gateway
	scriptFolder []string
	started      time.Time
	drainTime    time.Duration

	stop       chan os.Signal
	childEnded chan os.Signal
	deadline   <-chan time.Time // of the task, nil for none
	children   process.Children
	results    handed
	stopped    bool // told to stop
	timedOut   bool // the task's time is over
	skipsRest  bool // a step's exit code said that the task is done
}

// verdict is how the task ended.
type verdict struct {
	reason   summary.Reason
	exitCode int
	message  string
}

// Run runs the plan and returns the exit code of the container.
func Run(options Options) int {
	t := &task{
		started:     time.Now(),
		drainTime:   cmp.Or(options.DrainTime, drainTime),
		planFile:    options.PlanFile,
		users:       identity.Of("/"),
		environment: os.Environ(),
		stop:        make(chan os.Signal, 4),
		childEnded:  make(chan os.Signal, 1),
	}
	// First of all: process 1 ignores signals it does not handle.
	signal.Notify(t.stop, stopSignals()...)
	signal.Notify(t.childEnded, syscall.SIGCHLD)
	// A reader of the log that goes away must not end the steps. Not Ignore: steps would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if options.Parent != 0 {
		if there, err := process.FollowParent(options.Parent); !there || err != nil {
			t.stop <- syscall.SIGTERM // nobody waits for what the steps would do
		}
	}

	result := &summary.Summary{Version: options.Version, Start: t.started}
	ending := t.run(options, result)

	t.children.KillAll(t.childEnded, killPatience)
	result.Reason, result.ExitCode, result.Message = ending.reason, ending.exitCode, t.secrets.Text(ending.message)
	if t.spool != nil {
		// Before the log's end: whoever sees that finds all that was uploaded. A pod that is stopped may go with its log.
		t.spool.Close(t.stopped)
	}
	if t.log != nil {
		t.log.Done(ending.exitCode, string(ending.reason))
	}
	if err := result.Write(options.TerminationLog); err != nil {
		// After the last marker nobody takes this for output; without the summary the exit code has to do.
		fmt.Fprintf(os.Stderr, "toolbox: the summary cannot be written: %v\n", err)
	}
	return ending.exitCode
}

// stopSignals are all that a container runtime may send to say "end": the image chooses by its STOPSIGNAL, and ours is
// not the program it was chosen for.
func stopSignals() []os.Signal {
	result := []os.Signal{
		syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGPWR,
	}
	for number := firstFree; number <= lastSignal; number++ {
		result = append(result, number)
	}
	return result
}

func (t *task) run(options Options, result *summary.Summary) verdict {
	program, programErr := os.Executable()
	// In this order: an undumpable process cannot be traced any more, and then draws its nonce.
	if err := process.Harden(); err != nil {
		return verdict{summary.Internal, exitOwn, err.Error()}
	}
	if err := process.AdoptOrphans(); err != nil {
		return verdict{summary.Internal, exitOwn, err.Error()}
	}
	nonce, err := steplog.NewNonce()
	if err != nil {
		return verdict{summary.Internal, exitOwn, err.Error()}
	}
	result.Nonce = nonce

	var planErr error
	if t.plan, planErr = plan.Read(options.PlanFile); planErr != nil {
		t.log = steplog.New(os.Stdout, nonce, "", "", 0)
		return t.endSetup(result, verdict{summary.BadPlan, exitOwn, planErr.Error()})
	}
	t.log = steplog.New(os.Stdout, nonce, t.plan.Run, t.plan.Task, t.plan.Attempt)
	t.secrets = mask.New(t.secretValues())
	t.log.Hide(t.secrets)
	t.uploadLog()
	fmt.Fprintf(t.log, "toolbox %s %s/%s, user %d, group %d\n",
		options.Version, runtime.GOOS, runtime.GOARCH, os.Getuid(), os.Getgid())
	if programErr == nil && !begin(filepath.Dir(program)) {
		const message = "the steps were begun before: the container was started again in its pod, and steps run only once"
		return t.endSetup(result, verdict{summary.Internal, exitOwn, message})
	}
	if limit := t.plan.Timeout(); limit > 0 {
		timer := time.NewTimer(time.Until(t.started.Add(limit)))
		defer timer.Stop()
		t.deadline = timer.C
	}
	if programErr == nil {
		t.scriptFolder = append(t.scriptFolder, filepath.Dir(program))
	}
	t.scriptFolder = append(t.scriptFolder, os.Getenv("TMPDIR"), "/tmp")
	ending := t.endSetup(result, t.fetchResults())
	return t.runSteps(ending, result)
}

// endSetup closes the log's part before the first step, with why there will be none if so, and returns the verdict.
func (t *task) endSetup(result *summary.Summary, ending verdict) verdict {
	state := summary.Success
	if ending.reason != summary.Completed {
		state = summary.Failed
		t.log.Notice(ending.message)
	}
	result.SetupBytes = t.log.End(string(state), ending.exitCode, time.Now().UnixMilli())
	return ending
}

// begin takes note in the pod's own volume that the steps begin, and says whether that is the first time. Where nothing
// can be written it is taken for the first.
func begin(folder string) bool {
	file, err := os.OpenFile(filepath.Join(folder, "begun"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return !errors.Is(err, os.ErrExist)
	}
	file.Close()
	return true
}

// runSteps runs the steps one after the other, if the setup has not ended the task already.
func (t *task) runSteps(ending verdict, result *summary.Summary) verdict {
	for i := range t.plan.Steps {
		if t.skipsRest {
			result.Steps = append(result.Steps, summary.Step{State: summary.Skipped})
			continue
		}
		if ending.reason == summary.Completed {
			ending = t.interrupted()
		}
		if ending.reason != summary.Completed {
			result.Steps = append(result.Steps, summary.Step{State: summary.NotStarted})
			continue
		}
		var step summary.Step
		step, ending = t.runStep(i)
		result.Steps = append(result.Steps, step)
	}
	return ending
}

// interrupted says whether a stop or the task's time-out came while no step was running.
func (t *task) interrupted() verdict {
	select {
	case <-t.stop:
		t.stopped = true
	default:
	}
	select {
	case <-t.deadline:
		t.timedOut = true
	default:
	}
	switch {
	case t.stopped:
		return verdict{summary.Stopped, exitStopped, "told to stop between two steps"}
	case t.timedOut:
		return verdict{summary.Timeout, exitTimeout, t.timeoutMessage()}
	default:
		return verdict{reason: summary.Completed}
	}
}

func (t *task) timeoutMessage() string {
	return fmt.Sprintf("the task's %d s are over", t.plan.TimeoutSeconds)
}
