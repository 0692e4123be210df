package plan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const small = `{"version": 1, "run": "1il7g1c000001", "task": "build", "attempt": 1, "steps": [{"name": "a", "kind": "run", "command": "true"}]}`

func TestWhatIsLeftOutGetsItsDefault(t *testing.T) {
	got, err := Decode([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	step := got.Steps[0]
	if step.Shell != "/bin/sh -e" || got.WorkingDir != "~/project" || step.WorkingDir != "" || step.User != "" {
		t.Errorf("the step is %+v", step)
	}
	if got.GracePeriod().Seconds() != 30 || got.Timeout() != 0 || step.Timeout() != 0 {
		t.Errorf("the plan is %+v", got)
	}
}

func TestAStepsOwnWordCountsOverTheTasks(t *testing.T) {
	got, err := Decode([]byte(`{"version": 1, "run": "r", "task": "t", "attempt": 2, "workingDir": "/src", "shell": "/bin/bash", "user": "1",
		"gracePeriodSeconds": 0, "timeoutSeconds": 60,
		"steps": [{"name": "a", "kind": "run", "command": ""},
		          {"name": "b", "kind": "run", "command": "", "workingDir": "sub", "shell": "/bin/zsh -f", "user": "2", "timeoutSeconds": 5}]}`))
	if err != nil {
		t.Fatal(err)
	}
	a, b := got.Steps[0], got.Steps[1]
	if got.WorkingDir != "/src" || a.WorkingDir != "" || a.Shell != "/bin/bash" || a.User != "1" {
		t.Errorf("the task's words do not count: %+v", a)
	}
	if b.WorkingDir != "sub" || b.Shell != "/bin/zsh -f" || b.User != "2" || b.Timeout().Seconds() != 5 {
		t.Errorf("the step's words do not count: %+v", b)
	}
	if got.GracePeriod() != 0 || got.Timeout().Seconds() != 60 {
		t.Errorf("the plan is %+v", got)
	}
}

func TestWhatIsWrongIsRefusedWithItsPlace(t *testing.T) {
	step := func(fields string) string {
		return `{"version": 1, "run": "r", "task": "t", "attempt": 1, "steps": [{"name": "a", "kind": "run", "command": "true"` + fields + `}]}`
	}
	for text, want := range map[string]string{
		``:                              "not the JSON of a plan",
		`[]`:                            "not the JSON of a plan",
		`{"version": 2, "new": true}`:   "version 2, this toolbox understands 1",
		`{"version": 1}`:                "run is missing",
		`{"version": 1, "run": "r"}`:    "task is missing",
		small + "x":                     "not the JSON of a plan",
		small + small:                   "not the JSON of a plan",
		strings.Repeat(" ", MaxBytes+1): "longer than",
		strings.Replace(small, `"attempt": 1`, `"attempt": 1, "skipRestOnExitCodes": [7, 0]`, 1): "skipRestOnExitCodes[1] is 0",
		strings.Replace(small, `"attempt": 1`, `"attempt": 0`, 1):                                "attempt is 0",
		strings.Replace(small, `"attempt": 1`, `"attempt": 1, "unknown": 1`, 1):                  `unknown field "unknown"`,
		strings.Replace(small, `"attempt": 1`, `"attempt": 1, "gracePeriodSeconds": -1`, 1):      "gracePeriodSeconds is -1",
		strings.Replace(small, `"attempt": 1`, `"attempt": 1, "timeoutSeconds": -1`, 1):          "timeoutSeconds is -1",
		strings.Replace(small, `"kind": "run"`, `"kind": "clone"`, 1):                            "steps[0].clone is missing",
		strings.Replace(small, `"kind": "run"`, `"kind": "fly"`, 1):                              `steps[0].kind is "fly", which`,
		strings.Replace(small, `"kind": "run"`, `"kind": "clone", "clone": {}`, 1):               "steps[0].clone.url is missing",
		strings.Replace(small, `"name": "a"`, `"name": ""`, 1):                                   "steps[0].name is missing",
		step(`, "shell": " "`): "steps[0].shell is blank",
		strings.Replace(small, `"kind": "run"`, `"kind": "clone", "clone": {"url": "a", "depth": -1}`, 1):                                                    "clone.depth is -1",
		strings.Replace(small, `"kind": "run"`, `"kind": "clone", "clone": {"url": "a", "credentials": {"folder": "a"}}`, 1):                                 "no absolute path",
		strings.Replace(small, `"attempt": 1`, `"attempt": 1, "results": [{"task": "a", "key": "b", "environment": "C"}]`, 1):                                "results need the gateway",
		strings.Replace(small, `"attempt": 1`, `"attempt": 1, "gateway": {"url": "http://a", "tokenFile": "/t"}, "results": [{"task": "a", "key": "b"}]`, 1): "results[0] is",
		step(`, "environment": [{"name": "A", "from": "B", "results": true}]`):                                                                               "only a value can have references",
		step(`, "user": "a\u0000"`):                                                             "steps[0].shell, workingDir and user cannot contain NUL",
		step(`, "timeoutSeconds": -1`):                                                          "steps[0].timeoutSeconds is -1",
		step(`, "timeoutSeconds": "1"`):                                                         "cannot unmarshal string",
		step(`, "environment": [{"name": "A=B", "value": ""}]`):                                 "steps[0].environment[0].name",
		step(`, "environment": [{"name": "A"}]`):                                                "exactly one is needed for A",
		step(`, "environment": [{"name": "A", "value": "", "from": "B"}]`):                      "exactly one is needed for A",
		step(`, "environment": [{"name": "A", "value": "\u0000"}]`):                             "value of A contains NUL",
		step("") + "\n[1]":                                                                      "not the JSON of a plan",
		strings.Replace(small, `"steps": [`, `"steps": [`+strings.Repeat(stepText+",", 64), 1):  "steps has 65 entries",
		strings.Replace(small, `"version": 1`, `"version": 1, "Steps": [], "workingdir": 5`, 1): "cannot unmarshal number",
	} {
		if _, err := Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.200s: got %v, want %q", text, err, want)
		}
	}
}

const stepText = `{"name": "a", "kind": "run", "command": "true"}`

func TestAPlanIsReadFromItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plan.json")
	if _, err := Read(file); err == nil || !strings.Contains(err.Error(), "cannot be opened") {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(file, []byte(small+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(file); err != nil || got.Task != "build" {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("the file is not named: %v", err)
	}
}
