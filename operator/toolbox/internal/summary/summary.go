// Package summary writes what happened into the termination message of the container.
package summary

import (
	"encoding/json"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	format = 1
	// maxBytes is what the kubelet keeps of one container's message.
	maxBytes = 4096
)

// Reason says in one word why the task ended as it did; the list is closed.
type Reason string

// The reasons, as documented in docs/internals/toolbox.md.
const (
	Completed        Reason = "Completed"
	StepFailed       Reason = "StepFailed"
	Timeout          Reason = "Timeout"
	Stopped          Reason = "Stopped"
	BadPlan          Reason = "BadPlan"
	NoShell          Reason = "NoShell"
	UnknownUser      Reason = "UnknownUser"
	UserNotPermitted Reason = "UserNotPermitted"
	WorkingDir       Reason = "WorkingDir"
	CannotStart      Reason = "CannotStart"
	MissingResult    Reason = "MissingResult"
	Internal         Reason = "Internal"
)

// State is how a step ended.
type State string

// The states of a step.
const (
	Success    State = "success"
	Failed     State = "failed"
	Aborted    State = "stopped"
	NotStarted State = "notstarted"
	Skipped    State = "skipped"
)

// Step is the end of one step; the times are zero if it did not start.
type Step struct {
	State      State
	ExitCode   int
	Bytes      int64
	Start, End time.Time
}

// Summary is the end of a task.
type Summary struct {
	Nonce      string
	Version    string
	Start      time.Time
	ExitCode   int
	Reason     Reason
	Message    string
	SetupBytes int64
	Steps      []Step
}

// wire is the form in the message; the order of the fields is the order in the text.
type wire struct {
	Format  int      `json:"runabout"`
	Nonce   string   `json:"nonce"`
	Version string   `json:"toolbox"`
	Start   int64    `json:"start"`
	Exit    int      `json:"exit"`
	Reason  Reason   `json:"reason"`
	Message string   `json:"message"`
	Setup   int64    `json:"setup"`
	Steps   [][5]any `json:"steps"`
}

// Encode is the summary as one line of JSON that fits the message: the text of Message gives way.
func (s *Summary) Encode() []byte {
	result := wire{
		Format: format, Nonce: s.Nonce, Version: s.Version, Start: s.Start.UnixMilli(), Exit: s.ExitCode,
		Reason: s.Reason, Message: strings.ToValidUTF8(s.Message, "?"), Setup: s.SetupBytes, Steps: [][5]any{},
	}
	for _, step := range s.Steps {
		result.Steps = append(result.Steps,
			[5]any{step.State, step.ExitCode, step.Bytes, s.since(step.Start), s.since(step.End)})
	}
	for {
		data, err := json.Marshal(result)
		if err != nil {
			panic(err) // only strings and numbers are in there
		}
		if len(data) < maxBytes || result.Message == "" {
			return append(data, '\n')
		}
		// One character takes up to six bytes in JSON: rather once more than too much.
		result.Message = shorten(result.Message, (len(data)+1-maxBytes+5)/6)
	}
}

// Write replaces the file's content. The file is a mount, so it can only be truncated, not renamed over.
func (s *Summary) Write(file string) error {
	target, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = target.Write(s.Encode())
	if closeErr := target.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (s *Summary) since(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Sub(s.Start).Milliseconds()
}

// shorten takes at least so many bytes off the end, at the border of a character.
func shorten(text string, excess int) string {
	end := max(0, len(text)-excess)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}
