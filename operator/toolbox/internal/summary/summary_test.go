package summary

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var start = time.UnixMilli(1_795_507_200_003)

func ended() *Summary {
	return &Summary{
		Nonce: strings.Repeat("0", 32), Version: "0.1.0", Start: start, ExitCode: 1, Reason: StepFailed,
		Message: "step test ended with exit code 1", SetupBytes: 43,
		Steps: []Step{
			{State: Success, Bytes: 28, Start: start.Add(8 * time.Millisecond), End: start.Add(447 * time.Millisecond)},
			{State: Failed, ExitCode: 1, Bytes: 4, Start: start.Add(448 * time.Millisecond), End: start.Add(457 * time.Millisecond)},
			{State: NotStarted},
		},
	}
}

func TestASummaryIsWrittenAsItIsDocumented(t *testing.T) {
	want := `{"runabout":1,"nonce":"00000000000000000000000000000000","toolbox":"0.1.0","start":1795507200003,"exit":1,` +
		`"reason":"StepFailed","message":"step test ended with exit code 1","setup":43,` +
		`"steps":[["success",0,28,8,447],["failed",1,4,448,457],["notstarted",0,0,0,0]]}` + "\n"
	if got := string(ended().Encode()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTheLargestSummaryFitsATerminationMessage(t *testing.T) {
	for name, letter := range map[string]string{"ascii": "x", "wide": "é", "escaped": "\x01", "quoted": `"<`, "invalid": "\xff"} {
		t.Run(name, func(t *testing.T) {
			s := ended()
			s.Message = strings.Repeat(letter, 10_000)
			s.Steps = nil
			for range 64 { // the most a plan can have
				end := start.Add(1000 * time.Hour)
				s.Steps = append(s.Steps, Step{State: Success, ExitCode: 255, Bytes: 1 << 40, Start: end, End: end})
			}
			text := s.Encode()
			if len(text) > 4096 {
				t.Errorf("it has %d bytes", len(text))
			}
			var back struct{ Message string }
			if err := json.Unmarshal(text, &back); err != nil || back.Message == "" || !utf8.ValidString(back.Message) {
				t.Errorf("it cannot be read: %v, %.100q", err, back.Message)
			}
		})
	}
}

func TestASummaryReplacesWhatAStepWrote(t *testing.T) {
	file := filepath.Join(t.TempDir(), "termination-log")
	if err := os.WriteFile(file, []byte(strings.Repeat("forged ", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := ended().Write(file); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != string(ended().Encode()) {
		t.Errorf("the file holds %.200q (%v)", got, err)
	}
	if after, err := os.Stat(file); err != nil || !os.SameFile(before, after) {
		t.Error("it is another file: the kubelet would not see it") // a mount cannot be renamed over
	}
}

func TestASummaryThatCannotBeWrittenSaysSo(t *testing.T) {
	if err := ended().Write(t.TempDir()); err == nil {
		t.Error("a folder was written to")
	}
}
