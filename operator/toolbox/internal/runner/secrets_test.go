package runner

import (
	"strings"
	"testing"
)

// Neither in the log nor in the message: a step may print a secret in two writes, and the toolbox may name one itself.
func TestSecretsOfThePlanAppearNowhere(t *testing.T) {
	fields := object{"secrets": []string{"TOKEN", "RUNABOUT_ENV_0", "ABSENT"}}
	environment := []string{"TOKEN=t0ken-value", "RUNABOUT_ENV_0=first line\nsecond line\n", "PLAIN=plain value"}
	got := started(t, fields, environment,
		object{"command": `echo "$TOKEN $PLAIN"; printf t0ken; printf %s "-value"; printf '\n%s' "$KEY"; printf t0ken`,
			"environment": []object{{"name": "KEY", "from": "RUNABOUT_ENV_0"}}},
		object{"command": `echo "$TOKEN" | base64`},
		object{"command": "true", "user": "t0ken-value"}).end()
	expect(t, got, 125, "UnknownUser", "success:0 success:0 failed:125")
	if want := "*** plain value\n***\n***\nt0ken"; got.output(0) != want {
		t.Errorf("the first step's output is %q, want %q", got.output(0), want)
	}
	if !strings.HasPrefix(got.output(1), "***") || !strings.Contains(got.output(2), `user "***" is not`) || !strings.Contains(got.Message, `user "***" is not`) {
		t.Errorf("the log is %q, the message %q", got.log.Output, got.Message)
	}
}

func TestWithoutSecretsTheOutputIsLeftAlone(t *testing.T) {
	got := started(t, nil, []string{"TOKEN=t0ken-value"}, object{"command": "echo $TOKEN"}).end()
	if got.output(0) != "t0ken-value\n" {
		t.Errorf("it is %q", got.output(0))
	}
}
