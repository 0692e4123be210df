package runner

import (
	"os"
)

// secretValues are what the task's output may not show.
func (t *task) secretValues() []string {
	var values []string
	for _, name := range t.plan.Secrets {
		if value, known := os.LookupEnv(name); known {
			values = append(values, value)
		}
	}
	return values
}
