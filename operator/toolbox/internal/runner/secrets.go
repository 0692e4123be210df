package runner

import "os"

// secretValues are what the task's output may not show: the plan's variables, and what its steps log in with.
func (t *task) secretValues() []string {
	var values []string
	for _, name := range t.plan.Secrets {
		if value, known := os.LookupEnv(name); known {
			values = append(values, value)
		}
	}
	for i := range t.plan.Steps {
		clone := t.plan.Steps[i].Clone
		if clone == nil || clone.Credentials == nil {
			continue
		}
		if found, err := readCredentials(clone.Credentials.Folder); err == nil { // else the step says so
			values = append(values, found.Password, found.PrivateKey)
		}
	}
	return values
}
