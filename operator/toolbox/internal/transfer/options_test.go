package transfer

import (
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"runabout.dev/toolbox/internal/archive"
	"runabout.dev/toolbox/internal/files"
)

func TestOptionsSurviveTheCommandLine(t *testing.T) {
	for _, credential := range []*syscall.Credential{nil, {Uid: 1, Gid: 2, Groups: []uint32{}}, {Uid: 4294967294, Gid: 0, Groups: []uint32{3, 4}}} {
		want := Options{PlanFile: "/a plan", Number: 63, Dir: "/some where", Credential: credential, Started: time.Unix(1795755600, 0)}
		if got, err := Parse(want.Arguments()[2:]); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "are needed",
		"--plan a --step 0 --dir b more":         "nothing else",
		"--plan a --step 0 --dir b --ids 1":      "a user and a group",
		"--plan a --step 0 --dir b --ids 1,root": "--ids",
		"--fast":                                 "fast",
	} {
		if _, err := Parse(strings.Fields(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAmountsAreSaidForPeople(t *testing.T) {
	for want, counts := range map[string]archive.Counts{
		"0 files, 0 bytes":         {},
		"999 files, 999 bytes":     {Files: 999, Bytes: 999},
		"1,000 files, 1.0 kB":      {Files: 1000, Bytes: 1000},
		"12,345,678 files, 1.5 GB": {Files: 12345678, Bytes: 1500000000},
		"1 files, 2000.0 TB":       {Files: 1, Bytes: 2e15},
	} {
		if got := amount(files.Report{Counts: counts}); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}
