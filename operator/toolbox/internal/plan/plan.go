// Package plan reads what a toolbox is to do.
//
// Decoding is strict: a plan comes from the operator of the same version, so a field that is not known means that the
// two do not belong together, and saying so is better than running half of what was meant.
package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"runabout.dev/toolbox/internal/gateway"
)

const (
	// Version is the only version of the format this program understands.
	Version = 1
	// MaxBytes bounds a plan; an annotation holds less, a ConfigMap no more.
	MaxBytes = 1 << 20
	// MaxSteps bounds the steps, so that the summary fits a termination message.
	MaxSteps = 64

	defaultWorkingDir  = "~/project"
	defaultShell       = "/bin/sh -e"
	defaultGracePeriod = 30
)

// Plan is a task's steps with everything they need; see docs/internals/toolbox.md for each field.
type Plan struct {
	Version            int    `json:"version"`
	Run                string `json:"run"`
	Task               string `json:"task"`
	Attempt            int    `json:"attempt"`
	WorkingDir         string `json:"workingDir"`
	Shell              string `json:"shell"`
	User               string `json:"user"`
	GracePeriodSeconds *int   `json:"gracePeriodSeconds"`
	TimeoutSeconds     int    `json:"timeoutSeconds"`
	// Secrets names the container's variables whose values no output may show.
	Secrets []string `json:"secrets"`
	Steps   []Step   `json:"steps"`

	Gateway *gateway.Settings `json:"gateway"` // nil: the installation has none
	// Results are what the steps want of other tasks.
	Results []Result `json:"results"`

	// SkipRestOnExitCodes are exit codes of a step with which the task is done, and well.
	SkipRestOnExitCodes []int `json:"skipRestOnExitCodes"`
}

// Step is one thing to run. Empty fields have been replaced by the plan's, but for WorkingDir: what is relative there
// begins at the plan's, so nothing and the plan's own are not the same.
type Step struct {
	Name           string     `json:"name"`
	Kind           string     `json:"kind"`
	Command        string     `json:"command"`
	Shell          string     `json:"shell"`
	WorkingDir     string     `json:"workingDir"`
	User           string     `json:"user"`
	Environment    []Variable `json:"environment"`
	TimeoutSeconds int        `json:"timeoutSeconds"`
	Clone          *Clone     `json:"clone"`
	Archive
}

// Variable is a value, or the name of the container's variable that has it.
type Variable struct {
	Name  string  `json:"name"`
	Value *string `json:"value"`
	From  string  `json:"from"`
	// Results says that the value has references to results of other tasks in it.
	Results bool `json:"results"`
}

// GracePeriod is the time between the polite and the forced end of a step.
func (p *Plan) GracePeriod() time.Duration {
	return time.Duration(*p.GracePeriodSeconds) * time.Second
}

// Timeout is the time the whole task has, 0 for no limit.
func (p *Plan) Timeout() time.Duration { return time.Duration(p.TimeoutSeconds) * time.Second }

// Timeout is the time the step has, 0 for no limit.
func (s *Step) Timeout() time.Duration { return time.Duration(s.TimeoutSeconds) * time.Second }

// Read reads and checks the plan in a file.
func Read(file string) (*Plan, error) {
	source, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("the plan cannot be opened: %w", err)
	}
	defer source.Close()
	data, err := io.ReadAll(io.LimitReader(source, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("the plan cannot be read: %w", err)
	}
	result, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("the plan %s cannot be used: %w", file, err)
	}
	return result, nil
}

// Decode decodes a plan, fills in the defaults and checks it.
func Decode(data []byte) (*Plan, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("it is longer than %d bytes", MaxBytes)
	}
	// The version first: a plan of another version may well have other fields.
	var header struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &header); err != nil {
		return nil, fmt.Errorf("it is not the JSON of a plan: %w", err)
	}
	if header.Version != Version {
		return nil, fmt.Errorf(
			"it has version %d, this toolbox understands %d: operator and toolbox image are not of the same release",
			header.Version, Version)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	result := &Plan{}
	if err := decoder.Decode(result); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows after its end")
	}
	result.fill()
	return result, result.check()
}

func (p *Plan) fill() {
	if p.WorkingDir == "" {
		p.WorkingDir = defaultWorkingDir
	}
	if p.Shell == "" {
		p.Shell = defaultShell
	}
	if p.GracePeriodSeconds == nil {
		seconds := defaultGracePeriod
		p.GracePeriodSeconds = &seconds
	}
	for i := range p.Steps {
		step := &p.Steps[i]
		if step.Shell == "" {
			step.Shell = p.Shell
		}
		if step.User == "" {
			step.User = p.User
		}
		if step.IsArchive() {
			step.fillArchive()
		}
	}
}

func (p *Plan) check() error {
	switch {
	case p.Run == "":
		return errors.New("run is missing")
	case p.Task == "":
		return errors.New("task is missing")
	case p.Attempt < 1:
		return fmt.Errorf("attempt is %d, it counts from 1", p.Attempt)
	case *p.GracePeriodSeconds < 0:
		return fmt.Errorf("gracePeriodSeconds is %d, it cannot be negative", *p.GracePeriodSeconds)
	case p.TimeoutSeconds < 0:
		return fmt.Errorf("timeoutSeconds is %d, it cannot be negative", p.TimeoutSeconds)
	case len(p.Steps) > MaxSteps:
		return fmt.Errorf("steps has %d entries, at most %d are possible", len(p.Steps), MaxSteps)
	}
	if p.Gateway != nil {
		if err := p.Gateway.Check(); err != nil {
			return fmt.Errorf("gateway.%w", err)
		}
	}
	if err := p.checkResults(); err != nil {
		return err
	}
	for i, code := range p.SkipRestOnExitCodes {
		if code < 1 || code > 255 {
			return fmt.Errorf("skipRestOnExitCodes[%d] is %d, exit codes are 1 to 255", i, code)
		}
	}
	for i := range p.Steps {
		if err := p.Steps[i].check(p.Gateway != nil); err != nil {
			return fmt.Errorf("steps[%d].%w", i, err)
		}
	}
	return nil
}

func (s *Step) check(hasGateway bool) error {
	switch {
	case s.Name == "":
		return errors.New("name is missing")
	case s.Kind != "run" && s.Kind != KindClone && !s.IsArchive():
		return fmt.Errorf("kind is %q, which this toolbox does not know", s.Kind)
	case strings.TrimSpace(s.Shell) == "":
		return errors.New("shell is blank")
	case strings.ContainsRune(s.WorkingDir+s.Shell+s.User, 0):
		return errors.New("shell, workingDir and user cannot contain NUL")
	case s.TimeoutSeconds < 0:
		return fmt.Errorf("timeoutSeconds is %d, it cannot be negative", s.TimeoutSeconds)
	}
	if s.Kind == KindClone {
		if err := s.checkClone(); err != nil {
			return err
		}
	}
	if s.IsArchive() {
		if err := s.checkArchive(hasGateway); err != nil {
			return err
		}
	}
	for i, variable := range s.Environment {
		if err := variable.check(); err != nil {
			return fmt.Errorf("environment[%d].%w", i, err)
		}
	}
	return nil
}

func (v Variable) check() error {
	switch {
	case v.Name == "" || strings.ContainsAny(v.Name, "=\x00"):
		return fmt.Errorf("name is %q, which is no name of a variable", v.Name)
	case (v.Value == nil) == (v.From == ""):
		return fmt.Errorf("value and from: exactly one is needed for %s", v.Name)
	case v.Results && v.Value == nil:
		return fmt.Errorf("results of %s: only a value can have references in it", v.Name)
	case v.Value != nil && strings.ContainsRune(*v.Value, 0):
		return fmt.Errorf("value of %s contains NUL, which no variable can hold", v.Name)
	}
	return nil
}
