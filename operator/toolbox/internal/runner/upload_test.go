package runner

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"runabout.dev/toolbox/internal/gateway/gatewaytest"
)

func TestTheOutputOfEveryStepIsUploadedAsItIsInTheLog(t *testing.T) {
	server := gatewaytest.New(t)
	got := started(t, withGateway(server, object{"secrets": []string{"SECRET"}}), []string{"SECRET=very-secret"},
		object{"command": `printf 'one\r\n\0two, %s' "$SECRET"`},
		object{"command": "yes 0123456789 | head -c 3000000; exit 3"},
		object{"command": "echo never"}).end()
	expect(t, got, 3, "StepFailed", "success:0 failed:3 notstarted:0")
	for step := range 2 {
		if string(server.Log(step)) != got.output(step) {
			t.Errorf("of step %d %d bytes were uploaded, and %d are in the log", step, len(server.Log(step)), len(got.output(step)))
		}
	}
	if text := string(server.Log(0)); text != "one\r\n\x00two, ***" {
		t.Errorf("uploaded: %q", text)
	}
	if text := string(server.Log(-1)); !strings.HasPrefix(text, "toolbox ") {
		t.Errorf("of the setup: %q", text)
	}
}

func TestWithoutAGatewayThatAnswersTheStepsGoOnAsEver(t *testing.T) {
	for name, fault := range map[string]gatewaytest.Fault{
		"away": func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			gatewaytest.Refuse(w, http.StatusServiceUnavailable, "Unavailable", "come again")
			return true
		},
		"older": func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			gatewaytest.Refuse(w, http.StatusBadRequest, "BadRequest", "for.log: not permitted")
			return true
		},
	} {
		server := gatewaytest.New(t)
		server.Fault = fault
		begin := time.Now()
		got := started(t, withGateway(server, nil), nil, object{"command": "yes | head -c 2000000"}).end()
		expect(t, got, 0, "Completed", "success:0")
		// Far less than the gateway is waited for elsewhere; how long exactly is the spool's, whose tests have their own time.
		if len(got.output(0)) != 2_000_000 || time.Since(begin) > patience/2 {
			t.Errorf("%s: %d bytes after %v", name, len(got.output(0)), time.Since(begin))
		}
	}
}

func TestATaskThatIsStoppedUploadsWhatItHasSaid(t *testing.T) {
	server := gatewaytest.New(t)
	task := started(t, withGateway(server, nil), nil, object{"command": "echo one; trap 'echo two; exit 1' TERM; echo ready; while :; do sleep 0.1; done"})
	task.until("ready\n")
	task.signal(syscall.SIGTERM)
	got := task.end()
	if text := string(server.Log(0)); text != got.output(0) || !strings.Contains(text, "two\n[runabout: stopped]\n") {
		t.Errorf("uploaded: %q; the log has %q", text, got.output(0))
	}
}
