package runner

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"runabout.dev/toolbox/internal/gateway"
	"runabout.dev/toolbox/internal/plan"
	"runabout.dev/toolbox/internal/results"
	"runabout.dev/toolbox/internal/summary"
)

// lastPatience is for the gateway when the task has been told to end: what is left of the pod's grace period is for the
// output and the summary, too.
const lastPatience = 5 * time.Second

// resultsVariable is where a step finds the name of the file for its results.
const resultsVariable = "RUNABOUT_RESULTS"

// handed are results: those of ancestors, and the task's own.
type handed struct {
	file      string                       // of the current step; empty if it has none
	own       map[string]string            // of the steps so far
	ancestors map[string]map[string]string // by task and key; what the plan wants of them is there
}

// makeResultsFile makes an empty file that every user can write to, in the first folder that takes it, if any does.
func (t *task) makeResultsFile(number int) bool {
	for _, folder := range t.scriptFolder {
		if folder == "" {
			continue
		}
		path := filepath.Join(folder, fmt.Sprintf("results-%d", number))
		_ = os.Remove(path) // what an earlier step may have put there
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o666)
		if err != nil {
			continue
		}
		err = file.Chmod(0o666) // the umask does not apply
		file.Close()
		if err == nil {
			t.results.file = path
			return true
		}
	}
	return false
}

// keepResults hands on what the step wrote into its file.
func (t *task) keepResults() error {
	if t.results.file == "" {
		return nil
	}
	defer os.Remove(t.results.file)
	found, err := results.Read(t.results.file)
	if err != nil || len(found) == 0 {
		return err
	}
	for name, value := range found {
		if t.secrets.Text(value) != value {
			return fmt.Errorf("%s has the value of a Secret in it, and results are stored as they are", name)
		}
	}
	merged, err := results.Merge(t.results.own, found)
	if err != nil {
		return err
	}
	if t.plan.Gateway == nil {
		t.log.Notice("the results are not kept: the installation has no gateway")
		return nil
	}
	err = t.callGateway(func(ctx context.Context, client *gateway.Client) error { return client.PutResults(ctx, merged) })
	if err == nil {
		t.results.own = merged
	}
	return err
}

// withoutResults is the end of a step whose results could not be kept. One that had failed anyhow failed for its own reason.
func (t *task) withoutResults(step *plan.Step, result summary.Step, ending verdict, err error) (summary.Step, verdict) {
	t.log.Notice(fmt.Sprintf("its results cannot be kept: %v", err))
	switch {
	case result.State != summary.Success:
	case t.stopped:
		result.State, ending = summary.Aborted, verdict{summary.Stopped, exitStopped, "step " + step.Name + " was stopped"}
	case t.timedOut:
		result.State, ending = summary.Failed, verdict{summary.Timeout, exitTimeout, t.timeoutMessage()}
	default:
		result.State, result.ExitCode = summary.Failed, exitOwn
		ending = verdict{summary.StepFailed, exitOwn, fmt.Sprintf("step %s: its results cannot be kept: %v", step.Name, err)}
	}
	return result, ending
}

// fetchResults gets what the steps want of other tasks.
func (t *task) fetchResults() verdict {
	if len(t.plan.Results) == 0 {
		return verdict{reason: summary.Completed}
	}
	err := t.callGateway(func(ctx context.Context, client *gateway.Client) (err error) {
		t.results.ancestors, err = client.Results(ctx, t.plan.ResultTasks())
		return err
	})
	switch {
	case t.stopped:
		return verdict{summary.Stopped, exitStopped, "told to stop before the first step"}
	case t.timedOut:
		return verdict{summary.Timeout, exitTimeout, t.timeoutMessage()}
	case err != nil:
		return verdict{summary.Internal, exitOwn, fmt.Sprintf("the results of other tasks cannot be had: %v", err)}
	}
	for _, wanted := range t.plan.Results {
		if _, known := t.results.ancestors[wanted.Task][wanted.Key]; !known {
			return verdict{summary.MissingResult, exitOwn,
				fmt.Sprintf("task %s has no result %s: no step of it wrote that line to the file $%s", wanted.Task, wanted.Key, resultsVariable)}
		}
	}
	return verdict{reason: summary.Completed}
}

// callGateway does something that can take long: the gateway is waited for. A stop or the task's time-out ends it; once
// there has been one, there is little time.
func (t *task) callGateway(call func(context.Context, *gateway.Client) error) error {
	ctx := context.Background()
	if t.stopped || t.timedOut {
		inTime, end := context.WithTimeoutCause(ctx, lastPatience, fmt.Errorf("the gateway did not answer within %v of the step's end", lastPatience))
		defer end()
		ctx = inTime
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	notices, done := make(chan string), make(chan error, 1)
	client, err := gateway.New(*t.plan.Gateway, t.plan.Run, t.plan.Task, t.plan.Attempt, 0, func(line string) {
		select {
		case notices <- line:
		case <-ctx.Done():
		}
	})
	if err != nil {
		return err
	}
	go func() { done <- call(ctx, client) }()
	for {
		select {
		case line := <-notices:
			t.log.Notice(line)
		case err := <-done:
			return err
		case <-t.stop:
			t.stopped = true
			cancel()
			<-done // what it was about to write is not read any more
			return context.Canceled
		case <-t.deadline:
			t.timedOut = true
			cancel()
			<-done
			return context.DeadlineExceeded
		}
	}
}

// addResults puts what the plan wants of other tasks into a step's environment.
func (t *task) addResults(environment variables) {
	for _, wanted := range t.plan.Results {
		environment.set(wanted.Environment, t.results.ancestors[wanted.Task][wanted.Key])
	}
}

// filled is a variable's value with the references in it filled in, if the plan says that there are some.
func (t *task) filled(variable plan.Variable) string {
	if !variable.Results {
		return *variable.Value
	}
	return results.Fill(*variable.Value, func(task, key string) string { return t.results.ancestors[task][key] })
}
