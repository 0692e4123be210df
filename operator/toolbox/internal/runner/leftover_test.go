package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWhatHoldsTheOutputOpenDoesNotKeepTheStepFromEnding(t *testing.T) {
	began := time.Now()
	got := steps(t, "sleep 600 & setsid sleep 600 & (trap '' TERM HUP; sleep 600) & echo done", "echo next")
	expect(t, got, 0, "Completed", "success:0 success:0")
	if got.output(0) != "done\n" || got.output(1) != "next\n" {
		t.Errorf("the log is %q", got.log.Output)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v", took)
	}
}

func TestWhatABackgroundProcessWritesSoonAfterIsNotLost(t *testing.T) {
	late := "me=$$; (while kill -0 $me 2>/dev/null; do sleep 0.01; done; echo late) & echo early"
	got := started(t, nil, []string{patientDrain}, object{"command": late}).end()
	if got.output(0) != "early\nlate\n" {
		t.Errorf("the log is %q", got.output(0))
	}
}

func TestADaemonLivesUntilTheTaskEndsAndWritesIntoNoOtherStep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	daemon := "setsid sh -c 'echo $$ > " + file + "; while :; do echo noise; sleep 0.01; done' & while ! [ -s " + file + " ]; do sleep 0.01; done"
	got := steps(t, daemon, "kill -0 $(cat "+file+"); sleep 0.1; echo alive")
	expect(t, got, 0, "Completed", "success:0 success:0")
	if got.output(1) != "alive\n" {
		t.Errorf("the second step's log is %q", got.output(1))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(text))); !os.IsNotExist(err) {
		t.Errorf("the daemon %s is still there", text)
	}
}

func TestWhatAStepLeavesInItsGroupEndsWithIt(t *testing.T) {
	const quiet = " > /dev/null 2>&1"
	for name, where := range map[string]string{"holding no output": quiet, "one of them holding the output": ""} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pids")
			got := steps(t,
				"sleep 600"+quiet+" & echo $! > "+file+"; (trap '' TERM; exec sleep 600)"+where+" & echo $! >> "+file,
				"for pid in $(cat "+file+"); do ! kill -0 $pid 2>/dev/null || echo $pid lives; done")
			expect(t, got, 0, "Completed", "success:0 success:0")
			if got.output(1) != "" {
				t.Errorf("after its step, %q", got.output(1))
			}
		})
	}
}
