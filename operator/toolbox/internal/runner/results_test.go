package runner

import (
	"maps"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"runabout.dev/toolbox/internal/gateway/gatewaytest"
)

const writes = `echo VERSION=1.2.3 >> "$RUNABOUT_RESULTS"`

func TestWhatStepsWriteIsHandedOnAtTheirEnds(t *testing.T) {
	server := gatewaytest.New(t)
	got := started(t, withGateway(server, nil), nil,
		object{"command": writes + "; echo A=1 >> $RUNABOUT_RESULTS"},
		object{"command": `test ! -s "$RUNABOUT_RESULTS"`}, // each step has its own
		object{"command": "echo A=2 > $RUNABOUT_RESULTS; exit 3"}).end()
	// Also of the step that failed: an on_failure child may want to know.
	expect(t, got, 3, "StepFailed", "success:0 success:0 failed:3")
	if want := map[string]string{"VERSION": "1.2.3", "A": "2"}; !maps.Equal(server.Results(), want) {
		t.Errorf("the gateway has %v, want %v", server.Results(), want)
	}
	if asked := strings.Join(server.Requests(), ", "); strings.Count(asked, "results") != 2 {
		t.Errorf("the gateway was asked for %s", asked)
	}
}

func TestAnyUserMayWriteResults(t *testing.T) {
	server := gatewaytest.New(t)
	expect(t, started(t, withGateway(server, nil), nil, object{"command": writes, "user": "12345:12345", "workingDir": "/"}).end(), 0, "Completed", "success:0")
	if server.Results()["VERSION"] != "1.2.3" {
		t.Errorf("the gateway has %v", server.Results())
	}
}

func TestResultsThatCannotBeKeptFailAStepThatHadNot(t *testing.T) {
	for name, test := range map[string]struct{ command, states, want string }{
		"a bad line":       {"printf 'A=1\\nnonsense\\n' > $RUNABOUT_RESULTS", "failed:125 notstarted:0", "its results cannot be kept: line 2 is not KEY=VALUE"},
		"a failed step":    {"echo nonsense > $RUNABOUT_RESULTS; exit 4", "failed:4 notstarted:0", "ended with exit code 4"},
		"a secret":         {"echo A=x$TOKEN > $RUNABOUT_RESULTS", "failed:125 notstarted:0", "A has the value of a Secret in it"},
		"something else":   {"rm $RUNABOUT_RESULTS; mkfifo $RUNABOUT_RESULTS", "failed:125 notstarted:0", "no file any more"},
		"one that is gone": {"rm $RUNABOUT_RESULTS", "success:0 success:0", ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := gatewaytest.New(t)
			fields := withGateway(server, object{"secrets": []string{"TOKEN"}})
			got := started(t, fields, []string{"TOKEN=t0ken-value"}, object{"command": test.command}, object{"command": "true"}).end()
			if got.states() != test.states || !strings.Contains(got.Message, test.want) {
				t.Errorf("%s, %q", got.states(), got.Message)
			}
			if len(server.Results()) > 0 || strings.Contains(got.output(0), "t0ken") {
				t.Errorf("the gateway has %v, the log %q", server.Results(), got.output(0))
			}
		})
	}
}

func TestWithoutAGatewayResultsAreNotKeptAndTheLogSaysSo(t *testing.T) {
	got := steps(t, writes)
	expect(t, got, 0, "Completed", "success:0")
	if !strings.Contains(got.output(0), "the results are not kept") {
		t.Errorf("the log is %q", got.output(0))
	}
}

// wanting are the fields of a plan that wants VERSION of the task parent.
func wanting(server *gatewaytest.Server) object {
	wanted := object{"task": "parent", "key": "VERSION", "environment": "RUNABOUT_RESULT_PARENT_VERSION"}
	return withGateway(server, object{"results": []object{wanted}})
}

func TestResultsOfOtherTasksAreInTheEnvironmentAndInValues(t *testing.T) {
	server := gatewaytest.New(t)
	server.SetResults(map[string]string{"VERSION": `1; echo "no" $(no)`})
	filled := object{"name": "TAG", "value": "v{{ tasks.parent.results.VERSION }}-x", "results": true}
	plain := object{"name": "PLAIN", "value": "{{ tasks.parent.results.VERSION }}"}
	got := started(t, wanting(server), nil,
		object{"command": `echo "${RUNABOUT_RESULT_PARENT_VERSION}|$TAG|$PLAIN"`, "environment": []object{filled, plain}}).end()
	expect(t, got, 0, "Completed", "success:0")
	if want := "1; echo \"no\" $(no)|v1; echo \"no\" $(no)-x|{{ tasks.parent.results.VERSION }}\n"; got.output(0) != want {
		t.Errorf("it is %q, want %q", got.output(0), want)
	}
}

func TestAMissingResultEndsTheTaskBeforeItsFirstStep(t *testing.T) {
	got := started(t, wanting(gatewaytest.New(t)), nil, object{"command": "echo never"}, object{"command": "echo never"}).end()
	expect(t, got, 125, "MissingResult", "notstarted:0 notstarted:0")
	if !strings.Contains(got.Message, "task parent has no result VERSION") || !strings.Contains(string(got.log.Output["setup"]), got.Message) {
		t.Errorf("the message is %q, the log %q", got.Message, got.log.Output)
	}
}

// The gateway is waited for, but a stop is not kept waiting.
func TestAStopEndsTheWaitForResults(t *testing.T) {
	server := gatewaytest.New(t)
	server.Fault = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		gatewaytest.Refuse(w, http.StatusServiceUnavailable, "Unavailable", "later")
		return true
	}
	r := started(t, wanting(server), nil, object{"command": "echo never"})
	r.until("waiting")
	r.signal(syscall.SIGTERM)
	expect(t, r.end(), 143, "Stopped", "notstarted:0")
}

// A pod that is being stopped has seconds left, in which its log and its summary have to be written as well.
func TestAStoppedStepsResultsDoNotOutlastThePodsGracePeriod(t *testing.T) {
	server := gatewaytest.New(t)
	server.Fault = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		gatewaytest.Refuse(w, http.StatusServiceUnavailable, "Unavailable", "later")
		return true
	}
	r := started(t, withGateway(server, nil), nil, object{"command": writes + "; echo ready; sleep 600"})
	r.until("ready")
	begin := time.Now()
	r.signal(syscall.SIGTERM)
	got := r.end()
	expect(t, got, 143, "Stopped", "stopped:143")
	if took := time.Since(begin); took > patience*2/3 {
		t.Errorf("it took %v", took)
	}
	if want := "its results cannot be kept: the gateway did not answer within 5s"; !strings.Contains(got.output(0), want) {
		t.Errorf("the log is %q", got.output(0))
	}
}
