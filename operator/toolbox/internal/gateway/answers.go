package gateway

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

const (
	// maxExcuse is how much of a bad answer is read.
	maxExcuse = 64 << 10
	// maxAgain is how often in a row an address may be refused: it expires, and a new one is asked for.
	maxAgain = 5
)

// excuse says why a part could not be had or put, from the answer of the gateway or of the storage itself.
func (c *Client) excuse(answer *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxExcuse))
	if err != nil {
		return &passing{err: fmt.Errorf("%s: the answer broke off: %w", answer.Request.URL.Host, err)}
	}
	refusal := &Refusal{}
	if c.own(answer.Request.URL) {
		_ = json.Unmarshal(data, refusal)
		return judge(answer, refusal)
	}
	_ = xml.Unmarshal(data, refusal) // <Error><Code>…</Code><Message>…</Message></Error>
	refusal.Message = fmt.Sprintf("%s answered %s %s", answer.Request.URL.Host, answer.Status, refusal.Message)
	var brief *passing
	if err := judge(answer, refusal); errors.As(err, &brief) && answer.StatusCode != http.StatusUnauthorized {
		return err
	}
	return &passing{err: refusal, limit: maxAgain}
}

// plain is an error without the address, which may be one that lets everybody in.
func plain(err error) error {
	var withAddress *url.Error
	if errors.As(err, &withAddress) {
		return withAddress.Err
	}
	return err
}
