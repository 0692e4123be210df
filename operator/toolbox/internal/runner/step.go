package runner

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"runabout.dev/toolbox/internal/memory"
	"runabout.dev/toolbox/internal/plan"
	"runabout.dev/toolbox/internal/process"
	"runabout.dev/toolbox/internal/script"
	"runabout.dev/toolbox/internal/summary"
)

// refusal is why a step cannot start.
type refusal struct {
	reason summary.Reason
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }

func refuse(reason summary.Reason, format string, values ...any) *refusal {
	return &refusal{reason, fmt.Errorf(format, values...)}
}

// runStep runs one step to its end, marks it in the log and says whether the task goes on.
func (t *task) runStep(number int) (summary.Step, verdict) {
	step := &t.plan.Steps[number]
	result := summary.Step{Start: time.Now()}
	t.log.Begin(number, step.Name, result.Start.UnixMilli())

	var ending verdict
	killed := memory.Kills(memory.Files)
	status, cause, err := t.execute(number, step)
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		result.State, result.ExitCode = summary.Failed, exitOwn
		ending = verdict{refused.reason, exitOwn, fmt.Sprintf("step %s cannot start: %v", step.Name, refused)}
		t.log.Notice(ending.message)
	default:
		result.ExitCode = process.ExitCode(status)
		result.State, ending = t.judge(step, status, cause)
		t.explain(status, cause, memory.Kills(memory.Files)-killed)
		if err := t.keepResults(); err != nil {
			result, ending = t.withoutResults(step, result, ending, err)
		}
	}
	result.End = time.Now()
	result.Bytes = t.log.End(string(result.State), result.ExitCode, result.End.UnixMilli())
	return result, ending
}

// explain ends the step's output with what its own processes could not say of their end.
func (t *task) explain(status syscall.WaitStatus, cause *interruption, killed int) {
	if killed > 0 {
		t.log.Notice(fmt.Sprintf("out of memory: processes of the container that were killed: %d", killed))
	}
	switch {
	case cause != nil:
		t.log.Notice(cause.notice)
	case t.skipsRest:
		t.log.Notice(fmt.Sprintf("exit code %d: the task is done, the rest is skipped", status.ExitStatus()))
	case status.Signaled():
		t.log.Notice(fmt.Sprintf("killed by signal %d (%v)", status.Signal(), status.Signal()))
	}
}

// judge says what the end of a step's process means.
func (t *task) judge(step *plan.Step, status syscall.WaitStatus, cause *interruption) (summary.State, verdict) {
	exitCode := process.ExitCode(status)
	switch {
	case cause != nil && cause.reason == summary.Stopped:
		return summary.Aborted, verdict{summary.Stopped, exitStopped, "step " + step.Name + " was stopped"}
	case cause != nil:
		return summary.Failed, verdict{cause.reason, exitTimeout, "step " + step.Name + ": " + cause.notice}
	case exitCode == 0:
		return summary.Success, verdict{reason: summary.Completed}
	case !status.Signaled() && slices.Contains(t.plan.SkipRestOnExitCodes, exitCode):
		t.skipsRest = true
		return summary.Success, verdict{reason: summary.Completed,
			message: fmt.Sprintf("step %s ended with exit code %d, which skips the rest", step.Name, exitCode)}
	case status.Signaled():
		return summary.Failed, verdict{summary.StepFailed, exitCode,
			fmt.Sprintf("step %s was killed by signal %d (%v)", step.Name, status.Signal(), status.Signal())}
	default:
		return summary.Failed, verdict{summary.StepFailed, exitCode,
			fmt.Sprintf("step %s ended with exit code %d", step.Name, exitCode)}
	}
}

// execute starts the step's process and returns when the step is over and its output is in the log.
func (t *task) execute(number int, step *plan.Step) (syscall.WaitStatus, *interruption, error) {
	command, err := t.prepare(number, step)
	if err != nil {
		return 0, nil, err
	}
	var inherited []*os.File
	if step.Kind == "run" {
		text, err := script.Write(fmt.Sprintf("step-%d", number), step.Command, t.scriptFolder)
		if err != nil {
			return 0, nil, refuse(summary.CannotStart, "%w", err)
		}
		defer text.Remove()
		command.Arguments = append(command.Arguments, text.Path)
		if text.File != nil {
			inherited = append(inherited, text.File)
		}
	}
	input, err := t.input(step, command)
	if err != nil {
		return 0, nil, err
	}
	defer input.Close()
	output, err := process.NewOutput(command.Credential)
	if err != nil {
		return 0, nil, refuse(summary.CannotStart, "%w", err)
	}
	defer output.Close()

	command.Files = append([]*os.File{input, output.Writer(), output.Writer()}, inherited...)
	pid, err := process.Start(command)
	if err != nil {
		return 0, nil, startFailure(err, command, step)
	}
	t.children.Expect(pid)
	output.CopyTo(t.log)
	status, cause := t.await(pid, step)
	if err := t.drain(pid, output); err != nil {
		return status, cause, refuse(summary.Internal, "its output cannot be read: %w", err)
	}
	return status, cause, nil
}

// input is the step's standard input, for the caller to close.
func (t *task) input(step *plan.Step, command process.Command) (*os.File, error) {
	if step.Kind == plan.KindClone {
		return t.cloneInput(step, command)
	}
	input, err := os.Open(os.DevNull)
	if err != nil {
		return nil, refuse(summary.CannotStart, "%w", err)
	}
	return input, nil
}

// prepare finds out everything the process needs but its files.
func (t *task) prepare(number int, step *plan.Step) (process.Command, error) {
	who, err := t.identify(step.User)
	if err != nil {
		return process.Command{}, err
	}
	environment := t.stepEnvironment(step, who)
	folder := t.folder(step.WorkingDir, environment.get("HOME"))
	if err := makeFolder(folder, who); err != nil {
		return process.Command{}, refuse(summary.WorkingDir,
			"its working directory %s: %w; set workingDir to a place where user %d may write", folder, err, who.UID)
	}
	environment.set("PWD", folder)
	t.results.file = ""
	if step.Kind == "run" && t.makeResultsFile(number) {
		environment.set(resultsVariable, t.results.file)
	}
	if step.Kind == plan.KindClone {
		program, err := cloneProgram()
		return process.Command{
			Path: program, Arguments: []string{program}, Environment: environment.list(), Dir: folder, Credential: who.credential,
		}, err
	}
	if step.IsArchive() {
		return t.transfer(number, folder, who, environment), nil
	}
	arguments := strings.Fields(step.Shell)
	shell, err := lookUp(arguments[0], environment.get("PATH"))
	if err != nil {
		return process.Command{}, refuse(summary.NoShell,
			"%w; set shell to a program of the image, or use an image that has one", err)
	}
	return process.Command{
		Path: shell, Arguments: arguments, Environment: environment.list(), Dir: folder, Credential: who.credential,
	}, nil
}

// startFailure says which of the many reasons for which a process cannot start it was.
func startFailure(err error, command process.Command, step *plan.Step) *refusal {
	switch {
	case errors.Is(err, syscall.EPERM) && command.Credential != nil:
		return refuse(summary.UserNotPermitted,
			"the container may not change to user %s; run it as root with SETUID and SETGID, or as that user", step.User)
	case errors.Is(err, syscall.ENOENT) && step.Kind == plan.KindClone:
		return refuse(summary.CannotStart, "%s is missing: operator and toolbox image are not of the same release", command.Path)
	case errors.Is(err, syscall.ENOENT):
		return refuse(summary.NoShell, "%s or the interpreter it needs is not in the image: %w", command.Path, err)
	default:
		return refuse(summary.CannotStart, "%s in %s: %w", command.Path, command.Dir, err)
	}
}

// interruption is why a step was ended before its time.
type interruption struct {
	reason summary.Reason
	notice string
}

// await returns when the step's process has ended, which a stop or a time-out brings about if need be.
func (t *task) await(pid int, step *plan.Step) (syscall.WaitStatus, *interruption) {
	var limit <-chan time.Time
	if step.TimeoutSeconds > 0 {
		timer := time.NewTimer(step.Timeout())
		defer timer.Stop()
		limit = timer.C
	}
	var cause *interruption
	var force <-chan time.Time
	for {
		t.children.Reap()
		if status, ended := t.children.Status(); ended {
			return status, cause
		}
		var asked *interruption
		select {
		case <-t.childEnded:
		case <-force:
			process.Signal(pid, syscall.SIGKILL)
		case <-t.stop:
			t.stopped = true
			asked = &interruption{summary.Stopped, "stopped"}
		case <-limit:
			asked = &interruption{summary.Timeout, fmt.Sprintf("timed out after %d s", step.TimeoutSeconds)}
		case <-t.deadline:
			t.timedOut = true
			asked = &interruption{summary.Timeout, "timed out: " + t.timeoutMessage()}
		}
		if asked == nil || cause != nil {
			continue
		}
		// It may have ended before it was asked to, without having been waited for yet.
		t.children.Reap()
		if status, ended := t.children.Status(); ended {
			return status, nil
		}
		cause = asked
		process.Signal(pid, syscall.SIGTERM)
		grace := time.NewTimer(t.plan.GracePeriod())
		defer grace.Stop()
		force = grace.C
	}
}

// drain puts the rest of the output into the log. What outlives the step's process has the drain time to end by itself.
func (t *task) drain(pid int, output *process.Output) error {
	patience := time.NewTimer(t.drainTime)
	defer patience.Stop()
	var failure error
	select {
	case <-output.Copied():
	case <-patience.C:
		process.SignalGroup(pid, syscall.SIGKILL)
		failure = output.Cut(t.log)
	}
	// Also those that hold no output any more. The leader has been waited for, but the number of a group is not
	// given to anybody else while it has members. The next step finds none of them, nor what they kept open.
	process.SignalGroup(pid, syscall.SIGKILL)
	t.children.AwaitGroup(pid, t.childEnded, drainTime)
	return failure
}
