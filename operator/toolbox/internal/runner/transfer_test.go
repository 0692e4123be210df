package runner

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"runabout.dev/toolbox/internal/archive"
	"runabout.dev/toolbox/internal/gateway/gatewaytest"
)

// withGateway are the fields of a plan that has one; more are over them.
func withGateway(server *gatewaytest.Server, more object) object {
	fields := object{"gateway": object{"url": server.URL, "tokenFile": server.TokenFile}}
	for name, value := range more {
		fields[name] = value
	}
	return fields
}

func contents(paths ...string) []object { return []object{{"paths": paths}} }

// packed is an archive of files with these names and texts.
func packed(t *testing.T, files map[string]string) []byte {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var target bytes.Buffer
	if _, err := archive.Pack(&target, []archive.Content{{SourceDir: folder, Paths: []string{"**"}}}, func(text string) { t.Error(text) }); err != nil {
		t.Fatal(err)
	}
	return target.Bytes()
}

func TestWhatOneTaskSavesAnotherRestores(t *testing.T) {
	server := gatewaytest.New(t)
	fields := withGateway(server, nil)
	got := started(t, fields, nil,
		object{"command": "mkdir -p out/bin; echo tool > out/bin/tool; chmod 750 out/bin/tool; ln -s bin/tool out/link"},
		object{"kind": "saveToWorkspace", "contents": []object{{"sourceDir": "out", "destDir": "dist"}}}).end()
	expect(t, got, 0, "Completed", "success:0 success:0")
	if !strings.HasPrefix(got.output(1), "saved to the workspace: 2 files, 5 bytes, ") {
		t.Errorf("it said %q", got.output(1))
	}
	if stored, _ := server.Workspace(1); stored.Files != 2 || stored.Bytes != 5 {
		t.Errorf("stored %+v", stored)
	}
	got = started(t, fields, nil,
		object{"kind": "restoreWorkspace", "destDir": "here"},
		object{"command": "cat here/dist/link; stat -c %a here/dist/bin/tool"}).end()
	expect(t, got, 0, "Completed", "success:0 success:0")
	if got.output(0) != "restored what task build saved: 2 files, 5 bytes\n" || got.output(1) != "tool\n750\n" {
		t.Errorf("it said %q, there is %q", got.output(0), got.output(1))
	}
}

func TestWhatSeveralTasksSavedIsRestoredInTheirOrder(t *testing.T) {
	server := gatewaytest.New(t)
	server.AddWorkspace("first", 2, packed(t, map[string]string{"a": "first", "b": "first"}), 1<<20)
	server.AddWorkspace("second", 0, packed(t, map[string]string{"b": "second", "c/d": "second"}), 100)
	got := started(t, withGateway(server, nil), nil, object{"kind": "restoreWorkspace"}, object{"command": "cat a b c/d"}).end()
	expect(t, got, 0, "Completed", "success:0 success:0")
	if got.output(1) != "firstsecondsecond" {
		t.Errorf("there is %q", got.output(1))
	}
}

func TestAWorkspaceOfNobodyIsNoError(t *testing.T) {
	got := started(t, withGateway(gatewaytest.New(t), nil), nil, object{"kind": "restoreWorkspace"}).end()
	expect(t, got, 0, "Completed", "success:0")
	if got.output(0) != "no task before this one has saved anything\n" {
		t.Errorf("it said %q", got.output(0))
	}
}

func TestACacheIsSavedOnceAndRestoredByPrefix(t *testing.T) {
	server := gatewaytest.New(t)
	fields := withGateway(server, object{"workingDir": t.TempDir()})
	save := object{"kind": "saveCache", "key": `{{ env "NAME" }}-{{ checksum "go.sum" }}`, "contents": contents("pkg", "!pkg/tmp"),
		"environment": []object{variable("NAME", "go")}}
	prepare := object{"command": "mkdir -p pkg/tmp; echo sums > go.sum; echo module > pkg/m; echo x > pkg/tmp/x"}
	got := started(t, fields, nil, prepare, save, save).end()
	expect(t, got, 0, "Completed", "success:0 success:0 success:0")
	key := fmt.Sprintf("go-%x", sha256.Sum256([]byte("sums\n")))
	if caches := server.Caches(); len(caches) != 1 || caches[0].Key != key || caches[0].Files != 1 {
		t.Fatalf("stored %+v", caches)
	}
	if !strings.HasPrefix(got.output(1), "saved to the cache: "+key+" (1 files, 7 bytes, ") ||
		got.output(2) != "the cache has "+key+" already: it is left as it is\n" {
		t.Errorf("it said %q, %q", got.output(1), got.output(2))
	}
	if asked := slices.DeleteFunc(server.Requests(), func(line string) bool { return line != "POST archives" }); len(asked) != 1 {
		t.Errorf("an existing key was packed: %v", server.Requests())
	}
	server.AddCache("go-newer", packed(t, map[string]string{"m": "newer"}), 1<<20)
	got = started(t, withGateway(server, nil), nil,
		object{"kind": "restoreCache", "keys": []string{"rust-", "go-"}, "destDir": "x"}, object{"command": "cat x/m"},
		object{"kind": "restoreCache", "keys": []string{"rust-{{ os }}", "c-"}}).end()
	expect(t, got, 0, "Completed", "success:0 success:0 success:0")
	if got.output(0) != "restored from the cache: go-newer of 2026-11-27 05:00:00 UTC (1 files, 5 bytes)\n" || got.output(1) != "newer" ||
		got.output(2) != "the cache has nothing that begins with rust-linux, c-\n" {
		t.Errorf("it said %q, %q, there is %q", got.output(0), got.output(2), got.output(1))
	}
}

func TestFilesAreSavedAndRestoredWithTheStepsUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test needs root, as the stage toolbox of hack/test has it")
	}
	server := gatewaytest.New(t)
	if err := os.Chmod(server.TokenFile, 0o600); err != nil { // nobody's but root's
		t.Fatal(err)
	}
	folder := open(t)
	if err := os.WriteFile(filepath.Join(folder, "secret"), []byte("root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	fields := withGateway(server, object{"workingDir": filepath.Join(folder, "work")})
	user := "54321:54322"
	for name, test := range map[string]struct {
		steps  []object
		states string
		step   int
		want   string
	}{
		"what is restored is theirs": {[]object{
			{"command": "echo a > a", "user": user},
			{"kind": "saveToWorkspace", "contents": contents("a"), "user": user},
			{"kind": "restoreWorkspace", "destDir": "mine", "user": user},
			{"command": "stat -c %u:%g mine mine/a | uniq"},
		}, "success:0 success:0 success:0 success:0", 3, user + "\n"},
		"what they cannot read is not saved": {[]object{
			{"kind": "saveToWorkspace", "contents": []object{{"sourceDir": "..", "paths": []string{"secret"}}}, "user": user},
		}, "failed:1", 0, "permission denied"},
		"where they cannot write nothing is restored": {[]object{
			{"kind": "restoreWorkspace", "destDir": "/root/there", "user": user},
		}, "failed:1", 0, "permission denied"},
		"what they cannot read has no checksum": {[]object{
			{"kind": "saveCache", "key": `{{ checksum "../secret" }}`, "contents": contents("a"), "user": user},
		}, "failed:1", 0, "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			server.AddWorkspace("parent", 0, packed(t, map[string]string{"a": "text"}), 1<<20)
			got := started(t, fields, nil, test.steps...).end()
			if got.states() != test.states || !strings.Contains(got.output(test.step), test.want) {
				t.Errorf("%s: %q", got.states(), got.log.Output)
			}
		})
	}
}

func TestAContainerWithoutRootSavesAndRestores(t *testing.T) {
	server := gatewaytest.New(t)
	folder := open(t)
	token := filepath.Join(folder, "token")
	if err := os.WriteFile(token, []byte(gatewaytest.Token), 0o644); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(folder, "home")
	if err := os.Mkdir(home, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(home, 0o777); err != nil {
		t.Fatal(err)
	}
	plan := fmt.Sprintf(`{"version": 1, "run": "1il7g1c000001", "task": "build", "attempt": 1,
		"gateway": {"url": %q, "tokenFile": %q}, "steps": [
		{"name": "make", "kind": "run", "command": "echo text > a"},
		{"name": "save", "kind": "saveToWorkspace", "contents": [{"paths": ["a"]}]},
		{"name": "restore", "kind": "restoreWorkspace", "destDir": "~/there"}]}`, server.URL, token)
	if err := os.WriteFile(filepath.Join(folder, "plan.json"), []byte(plan), 0o644); err != nil {
		t.Fatal(err)
	}
	r := &run{t: t, message: filepath.Join(home, "message"), output: newBuffer()}
	r.command = exec.Command(program(t))
	r.command.Env = []string{
		"TEST_PLAN=" + filepath.Join(folder, "plan.json"), "TEST_MESSAGE=" + r.message, "HOME=" + home, "TMPDIR=" + home, "PATH=" + os.Getenv("PATH"),
	}
	r.command.Stdout, r.command.Stderr, r.command.Dir = r.output, os.Stderr, "/"
	if os.Getuid() == 0 {
		r.command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54322}}
	}
	if err := r.command.Start(); err != nil {
		t.Fatal(err)
	}
	got := r.end()
	expect(t, got, 0, "Completed", "success:0 success:0 success:0")
	if text, err := os.ReadFile(filepath.Join(home, "there/a")); err != nil || string(text) != "text\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestWhatCannotBeSavedFailsTheStepAndStoresNothing(t *testing.T) {
	for name, test := range map[string]struct {
		step object
		want string
	}{
		"nothing there":     {object{"kind": "saveToWorkspace", "contents": contents("none/**")}, "error: nothing fits what contents asks for"},
		"a wrong pattern":   {object{"kind": "saveToWorkspace", "contents": contents("a[")}, "error: contents[0]: paths[0]: \"a[\" is no valid pattern"},
		"out of the source": {object{"kind": "saveCache", "key": "k", "contents": contents("../x")}, "leads out of sourceDir"},
		"a key of nothing":  {object{"kind": "saveCache", "key": `{{ checksum "none" }}`, "contents": contents("a")}, "error: the key"},
	} {
		t.Run(name, func(t *testing.T) {
			server := gatewaytest.New(t)
			got := started(t, withGateway(server, nil), nil, test.step).end()
			expect(t, got, 1, "StepFailed", "failed:1")
			_, stored := server.Workspace(0)
			if !strings.Contains(got.output(0), test.want) || stored || len(server.Caches()) != 0 {
				t.Errorf("it said %q", got.output(0))
			}
		})
	}
}

func TestACacheIsNoReasonForATaskToFail(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		gatewaytest.Refuse(w, http.StatusForbidden, "Forbidden", "not yours")
		return true
	}
	for name, test := range map[string]struct {
		step  object
		fault gatewaytest.Fault
		want  string
	}{
		"it cannot be saved":    {object{"kind": "saveCache", "key": "k", "contents": contents("**")}, refuse, "notice: the cache is not saved: not yours"},
		"it cannot be restored": {object{"kind": "restoreCache", "keys": []string{"k"}}, refuse, "notice: the cache is not restored: not yours"},
		"there is nothing":      {object{"kind": "saveCache", "key": "k", "contents": contents("none")}, nil, "notice: nothing fits"},
	} {
		t.Run(name, func(t *testing.T) {
			server := gatewaytest.New(t)
			server.Fault = test.fault
			got := started(t, withGateway(server, nil), nil, test.step).end()
			expect(t, got, 0, "Completed", "success:0")
			if !strings.Contains(got.output(0), test.want) || len(server.Caches()) != 0 {
				t.Errorf("it said %q", got.output(0))
			}
		})
	}
}

func TestWhatIsHalfRestoredFailsTheStep(t *testing.T) {
	server := gatewaytest.New(t)
	text := strings.Repeat("some text that can be cut ", 1000)
	whole := packed(t, map[string]string{"a": text})
	server.AddCache("k", whole[:len(whole)-10], 1<<20)
	got := started(t, withGateway(server, nil), nil, object{"kind": "restoreCache", "keys": []string{"k"}}).end()
	expect(t, got, 1, "StepFailed", "failed:1")
	if !strings.Contains(got.output(0), "error: the cache's k: the archive is damaged") {
		t.Errorf("it said %q", got.output(0))
	}
}

func TestStopsAndTimeOutsEndATransfer(t *testing.T) {
	for name, test := range map[string]struct {
		step     object
		exitCode int
		reason   string
		states   string
	}{
		"a stop":         {object{"kind": "restoreWorkspace"}, 143, "Stopped", "stopped:143 notstarted:0"},
		"a time-out":     {object{"kind": "restoreWorkspace", "timeoutSeconds": 1}, 124, "Timeout", "failed:143 notstarted:0"},
		"a stop, saving": {object{"kind": "saveToWorkspace", "contents": contents("**")}, 143, "Stopped", "stopped:143 notstarted:0"},
	} {
		t.Run(name, func(t *testing.T) {
			server := gatewaytest.New(t)
			server.Fault = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
				gatewaytest.Refuse(w, http.StatusServiceUnavailable, "Busy", "too much to do")
				return true
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			r := started(t, withGateway(server, object{"workingDir": dir}), nil, test.step, object{"command": "true"})
			if test.reason == "Stopped" {
				r.until("notice: waiting for the object storage: too much to do")
				r.signal(syscall.SIGTERM)
			}
			expect(t, r.end(), test.exitCode, test.reason, test.states)
		})
	}
}

func TestAStepCannotPutAnotherProgramInTheToolboxsPlace(t *testing.T) {
	server := gatewaytest.New(t)
	got := started(t, withGateway(server, nil), nil,
		object{"command": `rm -f "$(dirname "$0")"/toolbox; printf '#!/bin/sh\necho mine\n' > "$(dirname "$0")/toolbox"; chmod +x "$(dirname "$0")/toolbox"`},
		object{"kind": "restoreWorkspace"}).end()
	expect(t, got, 0, "Completed", "success:0 success:0")
	if got.output(1) != "no task before this one has saved anything\n" {
		t.Errorf("it said %q", got.output(1))
	}
}

func TestAPlanWithoutAGatewayCannotSave(t *testing.T) {
	got := started(t, nil, nil, object{"kind": "restoreWorkspace"}).end()
	if got.Reason != "BadPlan" || !strings.Contains(got.Message, `steps[0].kind is "restoreWorkspace", which needs the plan's gateway`) {
		t.Errorf("%s: %s", got.Reason, got.Message)
	}
}

// A key is stored, and shown to every run that finds its entry.
func TestAKeyWithASecretInItIsRefused(t *testing.T) {
	fromSecret := object{"name": "INNER", "from": "RUNABOUT_ENV_0"}
	plain := object{"name": "TOKEN", "value": "harmless"}
	for name, test := range map[string]struct {
		key     string
		own     object
		refused bool
	}{
		"a variable of the container": {`k-{{ env "TOKEN" }}`, fromSecret, true},
		"a variable of the step":      {`k-{{ env "INNER" }}`, fromSecret, true},
		"one that the step replaces":  {`k-{{ env "TOKEN" }}`, plain, false},
		"a text of the Run's own":     {"t0ken-value", fromSecret, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := gatewaytest.New(t)
			fields := withGateway(server, object{"secrets": []string{"TOKEN", "RUNABOUT_ENV_0"}})
			got := started(t, fields, []string{"TOKEN=t0ken-value", "RUNABOUT_ENV_0=1nner-value"}, object{"command": "echo a > a"},
				object{"kind": "saveCache", "key": test.key, "contents": contents("a"), "environment": []object{test.own}}).end()
			if refused := strings.Contains(got.output(1), "error: the key has the value of a Secret in it"); refused != test.refused || refused == (len(server.Caches()) > 0) {
				t.Errorf("%s, %q, stored %v", got.states(), got.output(1), server.Caches())
			}
		})
	}
}
