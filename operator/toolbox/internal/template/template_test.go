package template

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestKeysAreFilledInAsTheTableSays(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"go.sum": "sums", "b.lock": "b", "a/a.lock": "a", "folder/x": ""} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command("sh", "-c", "sha256sum a/a.lock b.lock | sha256sum")
	command.Dir = dir
	list, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{
		"NAME": "value", `A "quoted" \ name`: "odd", "EMPTY": "", "LINES": "a\nb", "LONG": strings.Repeat("x", 513),
	}
	context := Context{Dir: dir, Home: dir, Time: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC), LookupEnv: func(name string) (string, bool) {
		value, found := environment[name]
		return value, found
	}}
	var cases []struct {
		Key, Value, Error string
		Late              bool
	}
	data, err := os.ReadFile("testdata/keys.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	values := strings.NewReplacer("ARCH", runtime.GOARCH, "SUM", fmt.Sprintf("%x", sha256.Sum256([]byte("sums"))), "LIST", strings.Fields(string(list))[0])
	for _, test := range cases {
		got, err := Render(test.Key, context)
		switch {
		case test.Error == "" && (err != nil || got != values.Replace(test.Value)):
			t.Errorf("%s: %q, %v", test.Key, got, err)
		case test.Error != "" && (err == nil || !strings.Contains(err.Error(), test.Error)):
			t.Errorf("%s: %q, %v", test.Key, got, err)
		}
	}
}

func TestAChecksumIsTakenWhereverTheFileIs(t *testing.T) {
	home, dir := t.TempDir(), t.TempDir()
	for _, file := range []string{filepath.Join(home, "file"), filepath.Join(dir, "file")} {
		if err := os.WriteFile(file, []byte("same"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := fmt.Sprintf("%x", sha256.Sum256([]byte("same")))
	for _, name := range []string{"file", "~/file", filepath.Join(home, "file"), "../" + filepath.Base(dir) + "/file"} {
		if got, err := Render(fmt.Sprintf("{{ checksum %q }}", name), Context{Dir: dir, Home: home}); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
