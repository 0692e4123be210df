package runner

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// What started it is gone, or is another process by now: nobody waits for the steps.
func TestWithoutTheParentThatItWasStartedForNothingBegins(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ran")
	r := started(t, nil, []string{"TEST_PARENT=1"}, object{"command": "touch " + file})
	expect(t, r.end(), 143, "Stopped", "notstarted:0")
	if _, err := os.Stat(file); err == nil {
		t.Error("the step ran")
	}
}

func TestWithItsParentStepsRunAsEver(t *testing.T) {
	expect(t, started(t, nil, []string{"TEST_PARENT=" + strconv.Itoa(os.Getpid())}, object{"command": "true"}).end(), 0, "Completed", "success:0")
}
