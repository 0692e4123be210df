package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxAnswer bounds an answer in JSON.
	maxAnswer = 16 << 20
	// maxResults are the tasks whose results are asked for at once, as the gateway bounds them.
	maxResults = 64
)

// Target is what a part belongs to: a step's part of the workspace, a cache's key, or a step's log.
type Target struct {
	Workspace *int   `json:"workspace,omitempty"`
	Cache     string `json:"cache,omitempty"`
	Log       *Range `json:"log,omitempty"`
}

// Range is a place in the log of a step (-1: the setup); the part's size says how far it goes.
type Range struct {
	Step   int   `json:"step"`
	Offset int64 `json:"offset"`
}

// Workspace is the part of the task's workspace that a step saves.
func Workspace(step int) Target { return Target{Workspace: &step} }

// Cache is the entry with a key.
func Cache(key string) Target { return Target{Cache: key} }

// Archive is one that can be had.
type Archive struct {
	Parts int   `json:"parts"`
	Size  int64 `json:"size"` // packed
}

// Saved is what an ancestor's step saved.
type Saved struct {
	Task string `json:"task"`
	Step int    `json:"step"`
	Archive
}

// Entry is a cache's.
type Entry struct {
	Key     string    `json:"key"` // empty: there is none
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Archive
}

// PutLog keeps output of a step, from an offset on.
func (c *Client) PutLog(ctx context.Context, step int, offset int64, data []byte) error {
	return c.uploadPart(ctx, Target{Log: &Range{step, offset}}, 0, described(data), data)
}

// Workspaces lists what all ancestors saved, in the order to unpack.
func (c *Client) Workspaces(ctx context.Context) ([]Saved, error) {
	var answer struct {
		Archives []Saved `json:"archives"`
	}
	err := c.call(ctx, http.MethodGet, "workspace", nil, &answer)
	return answer.Archives, err
}

// FindCache looks for the newest entry of the first key that is a prefix of some.
func (c *Client) FindCache(ctx context.Context, keys []string) (Entry, error) {
	var answer Entry
	err := c.call(ctx, http.MethodPost, "caches/find", map[string]any{"keys": keys}, &answer)
	return answer, err
}

// HasCache says whether a key is taken.
func (c *Client) HasCache(ctx context.Context, key string) (bool, error) {
	var answer struct {
		Exists bool `json:"exists"`
	}
	err := c.call(ctx, http.MethodPost, "caches/has", map[string]any{"key": key}, &answer)
	return answer.Exists, err
}

// PutResults hands on what the task found out so far.
func (c *Client) PutResults(ctx context.Context, results map[string]string) error {
	return c.call(ctx, http.MethodPut, "results", results, nil)
}

// Results are those of some ancestors, by task and key.
func (c *Client) Results(ctx context.Context, tasks []string) (map[string]map[string]string, error) {
	result := map[string]map[string]string{}
	for some := range slices.Chunk(tasks, maxResults) {
		var answer struct {
			Tasks map[string]map[string]string `json:"tasks"`
		}
		if err := c.call(ctx, http.MethodGet, "results?"+url.Values{"task": some}.Encode(), nil, &answer); err != nil {
			return nil, err
		}
		maps.Copy(result, answer.Tasks)
	}
	return result, nil
}

// Path is where the parts of an archive are listed.
func (s Saved) Path() string {
	return "workspace/" + url.PathEscape(s.Task) + "/" + strconv.Itoa(s.Step)
}

// Path is where the parts of an entry are listed.
func (e Entry) Path() string { return "caches/" + url.PathEscape(e.ID) }

// call asks the gateway until it answers. Path is relative to the attempt; result may be nil.
func (c *Client) call(ctx context.Context, method, path string, body, result any) error {
	return c.repeatedly(ctx, func(ctx context.Context) error { return c.once(ctx, method, path, body, result) })
}

func (c *Client) once(ctx context.Context, method, path string, body, result any) error {
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(data)
	}
	address, err := c.base.Parse(path)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, address.String(), content)
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.send(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return &passing{err: fmt.Errorf("%s: the answer broke off: %w", c.base.Host, err)}
	}
	if answer.StatusCode >= http.StatusBadRequest {
		refusal := &Refusal{}
		_ = json.Unmarshal(data, refusal) // what is no JSON comes from something in between
		return judge(answer, refusal)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(data, result); err != nil {
		return &passing{err: fmt.Errorf("%s: the answer is not what was expected: %w", c.base.Host, err), limit: 3}
	}
	return nil
}

// send sends a request; to the gateway with the task's token. A connection that fails is a passing failure.
func (c *Client) send(request *http.Request) (*http.Response, error) {
	if c.own(request.URL) {
		token, err := c.token()
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	request.Header.Set("User-Agent", "runabout-toolbox")
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, &passing{err: fmt.Errorf("%s: %w", request.URL.Host, plain(err))}
	}
	return answer, nil
}

// own says that an address is the gateway's.
func (c *Client) own(address *url.URL) bool {
	return address.Scheme == c.base.Scheme && strings.EqualFold(address.Host, c.base.Host)
}
