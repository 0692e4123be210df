package runner

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func variable(name, value string) object { return object{"name": name, "value": value} }

func TestWorkingDirectoriesAreMadeAndHomesExpanded(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	for name, test := range map[string]struct{ task, step, want string }{
		"the default":                       {"~/project", "", home + "/project"},
		"home itself":                       {"~", "", home},
		"relative to home":                  {"src/deep", "", home + "/src/deep"},
		"of the step, relative to the task": {"~/project", "a/b", home + "/project/a/b"},
		"of the step, at home":              {"/somewhere/else", "~/mine", home + "/mine"},
		"of the step, absolute":             {"~/project", home + "/x/../y", home + "/y"},
		"no home of somebody else":          {"~/project", "~user", home + "/project/~user"},
	} {
		t.Run(name, func(t *testing.T) {
			step := object{"command": `pwd; echo "$PWD"`}
			if test.step != "" {
				step["workingDir"] = test.step
			}
			got := started(t, object{"workingDir": test.task}, []string{"HOME=" + home}, step).end()
			if got.output(0) != test.want+"\n"+test.want+"\n" {
				t.Errorf("it ran in %q, want %s (%s)", got.output(0), test.want, got.Message)
			}
		})
	}
}

func TestTheStepsOwnHomeIsWhereItsDirectoryIs(t *testing.T) {
	home := t.TempDir()
	got := started(t, object{"workingDir": "~/w"}, []string{"HOME=/nowhere"},
		object{"command": `echo "$HOME $PWD"`, "environment": []object{variable("HOME", home)}}).end()
	if got.output(0) != home+" "+home+"/w\n" {
		t.Errorf("it is %q", got.output(0))
	}
}

func TestADirectoryThatCannotBeIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := started(t, nil, nil, object{"command": "true", "workingDir": file + "/sub"}, object{"command": "true"}).end()
	expect(t, got, 125, "WorkingDir", "failed:125 notstarted:0")
	if !strings.Contains(got.Message, file) || !strings.Contains(got.output(0), "[runabout: step s0 cannot start: its working directory") {
		t.Errorf("the message is %q, the log %q", got.Message, got.output(0))
	}
}

func TestAStepHasTheContainersEnvironmentAndItsOwnOverIt(t *testing.T) {
	got := started(t, nil,
		[]string{"PLAIN=container", "TOKEN=weaker", "RUNABOUT_ENV_0=hidden", "RUNABOUT_TASK=build", "OLDPWD=/x", "EMPTY="},
		object{
			"command": "env",
			"environment": []object{
				variable("PLAIN", "first"), variable("PLAIN", "two\nlines"),
				{"name": "TOKEN", "from": "RUNABOUT_ENV_0"}, {"name": "GONE", "from": "RUNABOUT_ENV_1"},
			},
		},
		object{"command": `echo "$PLAIN $TOKEN"`},
	).end()
	for _, want := range []string{"PLAIN=two\nlines\n", "TOKEN=hidden\n", "RUNABOUT_TASK=build\n", "EMPTY=\n", "HOME=/"} {
		if !strings.Contains(got.output(0), want) {
			t.Errorf("%q is not in %q", want, got.output(0))
		}
	}
	for _, unwanted := range []string{"RUNABOUT_ENV_", "OLDPWD", "GONE", "first"} {
		if strings.Contains(got.output(0), unwanted) {
			t.Errorf("%q is in %q", unwanted, got.output(0))
		}
	}
	if got.output(1) != "container weaker\n" {
		t.Errorf("the next step has %q", got.output(1))
	}
}

func TestThereIsAlwaysAPath(t *testing.T) {
	got := started(t, nil, []string{"PATH="}, object{"command": "echo found", "shell": "/bin/sh"}).end()
	expect(t, got, 0, "Completed", "success:0")
}

func TestTheShellIsAnyProgramWithItsArguments(t *testing.T) {
	folder := t.TempDir()
	for path, mode := range map[string]os.FileMode{"mine": 0o755, "data": 0o644} {
		if err := os.WriteFile(filepath.Join(folder, path), []byte("#!/bin/sh\necho \"$# $1 $2\"\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	step := func(shell string) *result {
		return started(t, nil, []string{"PATH=" + folder + ":/bin:/usr/bin"}, object{"command": "echo hello", "shell": shell}).end()
	}
	if got := step(folder + "/mine -a  -b"); got.output(0) != "3 -a -b\n" {
		t.Errorf("its arguments are %q", got.output(0))
	}
	if got := step("mine -c"); !strings.HasPrefix(got.output(0), "2 -c /") {
		t.Errorf("it was not found in the PATH: %q", got.output(0))
	}
	if got := step("cat"); got.output(0) != "echo hello\n" {
		t.Errorf("the script is %q", got.output(0))
	}
	for shell, want := range map[string]string{
		"/bin/none":        "the image has no shell /bin/none",
		"none -x":          "the image has no shell none",
		folder + "/data":   "permission denied",
		folder + "/absent": "the image has no shell",
	} {
		got := step(shell)
		expect(t, got, 125, "NoShell", "failed:125")
		if !strings.Contains(got.Message, want) {
			t.Errorf("%s: the message is %q", shell, got.Message)
		}
	}
}

func TestAStepRunsAsAnotherUserWhereThatIsPermitted(t *testing.T) {
	if os.Getuid() != 0 {
		got := started(t, nil, nil, object{"command": "id -u", "user": "54321:54322"}).end()
		expect(t, got, 125, "UserNotPermitted", "failed:125")
		return
	}
	folder := filepath.Join(open(t), "theirs", "deep")
	got := started(t, nil, []string{"HOME=/root"}, object{
		"command":    `id -u; id -g; echo "$HOME"; echo again > /dev/stdout; touch file; cat "$0" > /dev/null; ls -ldn . .. | while read m l u g r; do echo "$u $g"; done`,
		"user":       "54321:54322",
		"workingDir": folder,
	}).end()
	expect(t, got, 0, "Completed", "success:0")
	if got.output(0) != "54321\n54322\n/\nagain\n54321 54322\n54321 54322\n" {
		t.Errorf("the log is %q", got.output(0))
	}
}

func TestAStepOfTheSameUserCannotLookIntoTheToolbox(t *testing.T) {
	folder := open(t)
	message := filepath.Join(folder, "termination-log")
	plan := filepath.Join(folder, "plan.json")
	text := `{"version": 1, "run": "r", "task": "t", "attempt": 1, "workingDir": "/tmp", "steps": [{"name": "a", "kind": "run",
		"command": "ls -Ln /proc/$PPID/environ | (read m l u rest; echo $u); ! cat /proc/$PPID/environ 2> /dev/null"}]}`
	for path, content := range map[string]string{plan: text, message: ""} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	r := &run{t: t, message: message, output: newBuffer()}
	r.command = exec.Command(program(t))
	r.command.Env = []string{"TEST_PLAN=" + plan, "TEST_MESSAGE=" + message, "PATH=" + os.Getenv("PATH")}
	r.command.Stdout, r.command.Stderr = r.output, os.Stderr
	if os.Getuid() == 0 { // whose processes' files are root's in any case
		r.command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54322}}
	}
	if err := r.command.Start(); err != nil {
		t.Fatal(err)
	}
	got := r.end()
	expect(t, got, 0, "Completed", "success:0")
	if got.output(0) != "0\n" {
		t.Errorf("its environment belongs to user and says: %q", got.output(0))
	}
}

func TestTheContainersOwnUserNeedsNoPermission(t *testing.T) {
	got := started(t, nil, nil, object{"command": "id -u", "user": fmt.Sprintf("%d", os.Getuid())}).end()
	if got.output(0) != fmt.Sprintf("%d\n", os.Getuid()) {
		t.Errorf("it is %q (%s)", got.output(0), got.Message)
	}
}

func TestAUserWhomTheImageDoesNotKnowIsNamed(t *testing.T) {
	got := started(t, nil, nil, object{"command": "true", "user": "no-such-user"}).end()
	expect(t, got, 125, "UnknownUser", "failed:125")
	if !strings.Contains(got.output(0), `"no-such-user"`) {
		t.Errorf("the log is %q", got.output(0))
	}
}
