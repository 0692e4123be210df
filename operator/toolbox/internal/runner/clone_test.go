package runner

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"runabout.dev/toolbox/internal/install"
)

// cloning is a toolbox with a program beside it in the place of runabout-clone.
func cloning(t *testing.T, script string, steps ...object) *result {
	t.Helper()
	whole := object{"version": 1, "run": "1il7g1c000001", "task": "build", "attempt": 1, "workingDir": t.TempDir(), "steps": steps}
	text, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	toolbox := program(t)
	if script != "" {
		if err := os.WriteFile(filepath.Join(filepath.Dir(toolbox), install.Clone), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return start(t, toolbox, file, nil).end()
}

// secret is a Secret as it is mounted.
func secret(t *testing.T, data map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range data {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func cloneStep(fields object) object {
	clone := object{"url": "https://example.org/web.git"}
	for name, value := range fields {
		clone[name] = value
	}
	return object{"name": "get", "kind": "clone", "clone": clone}
}

// The same file is what runabout-clone's own test reads.
func TestACloneStepHandsItsRequestToTheProgramBesideTheToolbox(t *testing.T) {
	credentials := secret(t, map[string]string{
		"username": "anna", "password": "s3cret-password", "ssh-privatekey": "-----BEGIN\nprivate-part\n-----END\n",
		"known_hosts": "example.net ssh-ed25519 BBBB\n",
	})
	got := filepath.Join(t.TempDir(), "request")
	step := cloneStep(object{
		"ref": "v1", "depth": 3, "submodules": true, "destDir": "~/src/web", "knownHosts": "example.org ssh-ed25519 AAAA",
		"credentials": object{"secret": "git", "folder": credentials},
	})
	step["environment"] = []object{{"name": "HOME", "value": "/home/user"}, {"name": "OUT", "value": got}}
	ended := cloning(t, `cat > "$OUT"; echo "it said s3cret-password and private-part"; pwd; env; echo "$@"; exit 3`, step)
	expect(t, ended, 3, "StepFailed", "failed:3")

	var request, want any
	for file, target := range map[string]*any{got: &request, "testdata/clone-request.json": &want} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, target); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(request, want) {
		t.Errorf("the request is %v, want %v", request, want)
	}
	// Nothing of the Secret is in the environment or the arguments, and what the program says of it is masked.
	if !strings.HasPrefix(ended.output(0), "it said *** and ***\n") || strings.Count(ended.output(0), "***") != 2 {
		t.Errorf("the output is %q", ended.output(0))
	}
}

func TestADestinationIsTakenFromTheWorkingDirectory(t *testing.T) {
	for destination, want := range map[string]string{".": "", "sub/web": "/sub/web", "/srv/web": "/srv/web", "": ""} {
		step := cloneStep(object{"destDir": destination})
		step["workingDir"] = t.TempDir()
		if !filepath.IsAbs(want) || strings.HasPrefix(want, "/sub") {
			want = step["workingDir"].(string) + want
		}
		got := cloning(t, "cat", step)
		expect(t, got, 0, "Completed", "success:0")
		if !strings.Contains(got.output(0), `"folder":"`+want+`"`) {
			t.Errorf("%q: the request is %s, want %s", destination, got.output(0), want)
		}
	}
}

func TestWhatKeepsACloneFromStartingIsSaid(t *testing.T) {
	for name, test := range map[string]struct {
		program string
		data    map[string]string
		want    string
	}{
		"no Secret":           {"cat", nil, "the Secret git-login is not there"},
		"another type":        {"cat", map[string]string{"token": "x"}, "has neither username and password nor ssh-privatekey"},
		"an incomplete image": {"", map[string]string{"password": "s3cret"}, "not of the same release"},
	} {
		t.Run(name, func(t *testing.T) {
			credentials := object{"secret": "git-login", "folder": secret(t, test.data)}
			got := cloning(t, test.program, cloneStep(object{"credentials": credentials}))
			expect(t, got, 125, "CannotStart", "failed:125")
			if !strings.Contains(got.Message, test.want) {
				t.Errorf("got %q, want %q", got.Message, test.want)
			}
		})
	}
}

// As any other step: what it starts is told to end, and its time counts.
func TestACloneThatTakesTooLongIsEnded(t *testing.T) {
	step := cloneStep(nil)
	step["timeoutSeconds"] = 1
	expect(t, cloning(t, "exec sleep 60", step), 124, "Timeout", "failed:143")
}
