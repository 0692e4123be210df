package runner

import (
	"net/http"
	"strings"
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
		got := started(t, withGateway(server, nil), nil, object{"command": "yes | head -c 1000000"}).end()
		expect(t, got, 0, "Completed", "success:0")
		if len(got.output(0)) != 1_000_000 || time.Since(begin) > 10*time.Second {
			t.Errorf("%s: %d bytes after %v", name, len(got.output(0)), time.Since(begin))
		}
	}
}
