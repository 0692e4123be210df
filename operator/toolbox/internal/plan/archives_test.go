package plan

import (
	"strings"
	"testing"
)

func withArchive(step, gateway string) string {
	return `{"version": 1, "run": "r", "task": "t", "attempt": 1, ` + gateway + `"steps": [{"name": "a", ` + step + `}]}`
}

const someGateway = `"gateway": {"url": "https://gateway", "tokenFile": "/runabout/token/token"}, `

func TestContentsGetTheirDefaults(t *testing.T) {
	got, err := Decode([]byte(withArchive(`"kind": "saveToWorkspace", "contents": [{}]`, someGateway)))
	if err != nil {
		t.Fatal(err)
	}
	content := got.Steps[0].Contents[0]
	if content.SourceDir != "." || content.DestDir != "." || len(content.Paths) != 1 || content.Paths[0] != "**" {
		t.Errorf("the content is %+v", content)
	}
}

func TestWrongStepsForFilesAreRefused(t *testing.T) {
	for step, want := range map[string]string{
		`"kind": "saveToWorkspace"`:                                      "steps[0].contents are needed",
		`"kind": "restoreWorkspace", "contents": [{}]`:                   "steps[0].contents are needed to save, and for nothing else",
		`"kind": "saveCache", "contents": [{}]`:                          "steps[0].key is needed",
		`"kind": "restoreWorkspace", "key": "k"`:                         "steps[0].key is needed for saveCache, and for nothing else",
		`"kind": "restoreCache"`:                                         "steps[0].keys are needed",
		`"kind": "restoreWorkspace", "keys": ["k"]`:                      "steps[0].keys are needed for restoreCache, and for nothing else",
		`"kind": "restoreWorkspace", "destDir": "a\u0000"`:               "steps[0].destDir cannot contain NUL",
		`"kind": "fly"`:                                                  `steps[0].kind is "fly", which this toolbox does not know`,
		`"kind": "saveCache", "contents": [{"paths": "a"}]`:              "paths",
		`"kind": "saveToWorkspace", "contents": [{"to": "a"}]`:           `unknown field "to"`,
		`"kind": "saveToWorkspace", "contents": [{"destDir": "\u0000"}]`: "contents[0]: sourceDir and destDir cannot contain NUL",
	} {
		if _, err := Decode([]byte(withArchive(step, someGateway))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", step, err)
		}
	}
	for gateway, want := range map[string]string{
		"":                               "needs the plan's gateway",
		`"gateway": {"url": "nowhere"},`: "gateway.url is",
	} {
		if _, err := Decode([]byte(withArchive(`"kind": "restoreWorkspace"`, gateway))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", gateway, err)
		}
	}
}
