package runner

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestAStopReachesTheStepWhateverSignalTheImageChose(t *testing.T) {
	for _, signal := range []syscall.Signal{
		syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, 37,
	} {
		t.Run(fmt.Sprint(int(signal)), func(t *testing.T) {
			r := started(t, nil, nil, object{"command": "trap 'echo bye; exit 0' TERM; sleep 600 & echo ready; wait"}, object{"command": "echo never"})
			r.until("ready\n")
			r.signal(signal)
			got := r.end()
			expect(t, got, 143, "Stopped", "stopped:0 notstarted:0")
			if got.output(0) != "ready\nbye\n[runabout: stopped]\n" {
				t.Errorf("the log is %q", got.output(0))
			}
		})
	}
}

func TestWhatIgnoresAStopIsKilledAfterTheGracePeriod(t *testing.T) {
	r := started(t, object{"gracePeriodSeconds": 1}, nil, object{"command": "trap '' TERM; echo ready; while :; do sleep 0.05; done"})
	r.until("ready\n")
	began := time.Now()
	r.signal(syscall.SIGTERM)
	got := r.end()
	expect(t, got, 143, "Stopped", "stopped:137")
	if took := time.Since(began); took < time.Second || took > patience/2 {
		t.Errorf("it took %v", took)
	}
	if got.output(0) != "ready\n[runabout: stopped]\n" {
		t.Errorf("the log is %q", got.output(0))
	}
}

func TestASecondSignalChangesNothing(t *testing.T) {
	r := started(t, nil, nil, object{"command": "trap 'echo bye; sleep 0.5; exit 0' TERM; sleep 600 & echo ready; wait"})
	r.until("ready\n")
	r.signal(syscall.SIGTERM)
	r.until("bye\n")
	r.signal(syscall.SIGTERM)
	r.signal(syscall.SIGINT)
	if got := r.end(); got.output(0) != "ready\nbye\n[runabout: stopped]\n" {
		t.Errorf("the log is %q", got.output(0))
	}
}

func TestAStopAfterAStepHasEndedLeavesItAsItEnded(t *testing.T) {
	// The output is still held when its main process has been reaped, and for a moment after the stop has been sent: the
	// toolbox reads on.
	sent := filepath.Join(t.TempDir(), "sent")
	held := "me=$$; (while kill -0 $me 2>/dev/null; do sleep 0.01; done; echo held; while ! [ -e " + sent + " ]; do sleep 0.01; done; exec sleep 1) & echo ready"
	for name, test := range map[string]struct {
		steps          []object
		exit           int
		reason, states string
	}{
		"between two steps":   {[]object{{"command": held}, {"command": "echo never"}}, 143, "Stopped", "success:0 notstarted:0"},
		"after the last step": {[]object{{"command": held}}, 0, "Completed", "success:0"},
		"after a failed one":  {[]object{{"command": held + "; exit 3"}, {"command": "echo never"}}, 3, "StepFailed", "failed:3 notstarted:0"},
	} {
		t.Run(name, func(t *testing.T) {
			r := started(t, nil, []string{patientDrain}, test.steps...)
			r.until("held\n")
			r.signal(syscall.SIGTERM)
			if err := os.WriteFile(sent, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			got := r.end()
			if err := os.Remove(sent); err != nil {
				t.Fatal(err)
			}
			expect(t, got, test.exit, test.reason, test.states)
			if got.output(0) != "ready\nheld\n" {
				t.Errorf("the log is %q", got.output(0))
			}
		})
	}
}

func TestTimeOutsEndAStepAndSayWhich(t *testing.T) {
	// Long enough for a slow machine to get as far as the step's first word.
	for name, test := range map[string]struct {
		fields, step object
		notice       string
	}{
		"of the step": {nil, object{"timeoutSeconds": 4}, "[runabout: timed out after 4 s]\n"},
		"of the task": {object{"timeoutSeconds": 4}, nil, "[runabout: timed out: the task's 4 s are over]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			step := object{"command": "echo begun; sleep 600"}
			for name, value := range test.step {
				step[name] = value
			}
			got := started(t, test.fields, nil, step, object{"command": "echo never"}).end()
			expect(t, got, 124, "Timeout", "failed:143 notstarted:0")
			if got.output(0) != "begun\n"+test.notice {
				t.Errorf("the log is %q", got.output(0))
			}
		})
	}
}
