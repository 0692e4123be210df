package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"runabout.dev/toolbox/clone/internal/checkout"
)

// TestMain lets the test program be runabout-clone, in a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_CLONE") != "" {
		os.Exit(run(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

func program(request string, environment ...string) (string, int) {
	command := exec.Command("/proc/self/exe")
	command.Env = append([]string{"TEST_CLONE=1"}, environment...)
	command.Stdin = strings.NewReader(request)
	output, _ := command.CombinedOutput() // the exit code says it
	return string(output), command.ProcessState.ExitCode()
}

func TestARequestThatCannotBeReadIsNoFailureOfTheStepsOwn(t *testing.T) {
	for _, request := range []string{"", "clone", `{"unknown": 1}`} {
		if output, code := program(request); code != exitRequest || !strings.Contains(output, "is started by the toolbox") {
			t.Errorf("%q: exit code %d, %s", request, code, output)
		}
	}
}

func TestAFailureIsOneLineAndExitCode1(t *testing.T) {
	output, code := program(`{"url": "/srv/web.git", "folder": "/tmp/x"}`)
	if code != exitFailed || strings.Count(output, "\n") != 1 || !strings.HasPrefix(output, "clone failed: ") {
		t.Errorf("exit code %d, %s", code, output)
	}
}

// In an image without anything: the environment is all it has.
func TestTheProxyOfTheEnvironmentIsUsed(t *testing.T) {
	var asked bytes.Buffer
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.WriteString(r.URL.String())
		http.NotFound(w, r)
	}))
	defer proxy.Close()
	request := `{"url": "http://git.invalid/web.git", "folder": "` + t.TempDir() + `/new"}`
	output, code := program(request, "http_proxy="+proxy.URL)
	if code != exitFailed || !strings.Contains(output, "there is no such repository") {
		t.Errorf("exit code %d, %s", code, output)
	}
	if !strings.HasPrefix(asked.String(), "http://git.invalid/web.git/info/refs") {
		t.Errorf("the proxy was asked for %q", asked.String())
	}
}

// The toolbox's own test makes this request.
func TestTheRequestOfTheToolboxIsUnderstood(t *testing.T) {
	text, err := os.ReadFile("../internal/runner/testdata/clone-request.json")
	if err != nil {
		t.Fatal(err)
	}
	var got checkout.Request
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	for _, part := range []reflect.Value{reflect.ValueOf(got), reflect.ValueOf(got.Credentials)} {
		for i := range part.NumField() {
			if part.Field(i).IsZero() {
				t.Errorf("%s is not in it", part.Type().Field(i).Name)
			}
		}
	}
}
