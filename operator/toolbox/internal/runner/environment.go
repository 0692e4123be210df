package runner

import (
	"os"
	"slices"
	"strings"
	"syscall"

	"runabout.dev/toolbox/internal/identity"
	"runabout.dev/toolbox/internal/plan"
	"runabout.dev/toolbox/internal/summary"
)

const (
	// reserved are the container's variables that carry a step's references.
	reserved    = "RUNABOUT_ENV_"
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// person is who a step runs as.
type person struct {
	identity.User
	credential *syscall.Credential // nil: as this process
}

// identify finds out who a step runs as.
func (t *task) identify(user string) (person, error) {
	self := identity.User{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	if user == "" {
		return person{User: self}, nil
	}
	found, err := t.users.Parse(user)
	if err != nil {
		return person{}, refuse(summary.UnknownUser, "%w", err)
	}
	if found.UID == self.UID && (found.GID == self.GID || !strings.Contains(user, ":")) {
		return person{User: self}, nil
	}
	if self.UID != 0 {
		return person{}, refuse(summary.UserNotPermitted,
			"the container runs as user %d and may not change to user %s; remove user or set it on the container",
			self.UID, user)
	}
	return person{User: found, credential: &syscall.Credential{Uid: found.UID, Gid: found.GID, Groups: found.Groups}}, nil
}

// variables is an environment in which every name is there once.
type variables map[string]string

func (v variables) get(name string) string { return v[name] }

func (v variables) set(name, value string) { v[name] = value }

func (v variables) list() []string {
	result := make([]string, 0, len(v))
	for name, value := range v {
		result = append(result, name+"="+value)
	}
	slices.Sort(result)
	return result
}

// stepEnvironment is the container's environment with the step's over it.
func (t *task) stepEnvironment(step *plan.Step, who person) variables {
	container := variables{}
	for _, entry := range t.environment {
		// From the second character: a name can, strangely, begin with an equals sign.
		if end := strings.IndexByte(entry[min(1, len(entry)):], '='); end >= 0 {
			container.set(entry[:end+1], entry[end+2:])
		}
	}
	result := variables{"PATH": defaultPath}
	for name, value := range container {
		if !strings.HasPrefix(name, reserved) {
			result.set(name, value)
		}
	}
	delete(result, "OLDPWD")
	t.addResults(result)
	result.set("HOME", t.home(container.get("HOME"), who))
	for _, variable := range step.Environment {
		switch value, known := container[variable.From]; {
		case variable.Value != nil:
			result.set(variable.Name, t.filled(variable))
		case known:
			result.set(variable.Name, value)
		default: // an optional reference to what does not exist
			delete(result, variable.Name)
		}
	}
	return result
}

// home is the step's home folder if its own environment names none.
func (t *task) home(container string, who person) string {
	candidates := []string{container, t.users.Home(who.UID)}
	if who.credential != nil {
		candidates = []string{who.Home} // the container's is somebody else's
	}
	for _, candidate := range candidates {
		if strings.HasPrefix(candidate, "/") {
			return candidate
		}
	}
	return "/"
}
