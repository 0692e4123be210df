package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

const (
	// partSize is that of all parts of an archive but the last.
	partSize = 8 << 20
	// inFlight are the parts on their way at once; one more is being read.
	inFlight = 2
)

type part struct {
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
}

func described(data []byte) part {
	sum := sha256.Sum256(data)
	return part{len(data), hex.EncodeToString(sum[:])}
}

// Stored is what became of an archive.
type Stored struct {
	Existing bool  // there was one of this key already, and it stays
	Size     int64 // packed
}

// Upload stores what source has. When it has ended, finish says what is in it, or that it is not whole: then nothing is
// stored.
func (c *Client) Upload(
	ctx context.Context, target Target, source io.Reader, finish func() (files, unpacked int64, err error),
) (Stored, error) {
	parts, err := c.uploadParts(ctx, target, source)
	if err != nil {
		return Stored{}, err
	}
	files, unpacked, err := finish()
	if err != nil {
		return Stored{}, err
	}
	body := map[string]any{"for": target, "parts": parts, "files": files, "bytes": unpacked}
	var answer struct {
		Existing bool `json:"existing"`
	}
	if err := c.call(ctx, http.MethodPost, "archives", body, &answer); err != nil {
		return Stored{}, err
	}
	result := Stored{Existing: answer.Existing}
	for _, one := range parts {
		result.Size += int64(one.Size)
	}
	return result, nil
}

func (c *Client) uploadParts(ctx context.Context, target Target, source io.Reader) ([]*part, error) {
	var sending sync.WaitGroup
	defer sending.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	free := make(chan []byte, inFlight+1)
	for range cap(free) {
		free <- nil // made when it is needed: most archives are small
	}
	places := make(chan struct{}, inFlight)
	var parts []*part // each is its sender's until all are sent
	for last := false; !last; {
		memory, err := receive(ctx, free)
		if err != nil {
			return nil, err
		}
		if memory == nil {
			memory = make([]byte, partSize)
		}
		size, err := io.ReadFull(source, memory)
		switch {
		case errors.Is(err, io.EOF) && len(parts) > 0:
			last = true
			continue
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			last = true
		case err != nil:
			return nil, err
		}
		one, number := &part{}, len(parts)
		parts = append(parts, one)
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		sending.Go(func() {
			*one = described(memory[:size]) // here, so that the next part is being read meanwhile
			if err := c.uploadPart(ctx, target, number, *one, memory[:size]); err != nil {
				cancel(fmt.Errorf("part %d: %w", number, err))
			}
			<-places
			free <- memory
		})
	}
	sending.Wait()
	return parts, context.Cause(ctx)
}

func receive(ctx context.Context, free <-chan []byte) ([]byte, error) {
	select {
	case memory := <-free:
		return memory, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// place is where a part goes to, or comes from.
type place struct {
	URL     string            `json:"url"`
	Method  string            `json:"method"`
	Headers map[string]string `json:"headers"`
}

// uploadPart asks where to put a part and puts it there, again and again: an address may have expired meanwhile, and a
// part that arrived while its answer was lost is not sent again.
func (c *Client) uploadPart(ctx context.Context, target Target, number int, one part, data []byte) error {
	body := map[string]any{"for": target, "part": number, "size": one.Size, "sha256": one.SHA256}
	return c.repeatedly(ctx, func(ctx context.Context) error {
		var answer struct {
			place
			Stored bool `json:"stored"`
		}
		if err := c.once(ctx, http.MethodPost, "parts", body, &answer); err != nil || answer.Stored {
			return err
		}
		method := answer.Method
		if method == "" {
			method = http.MethodPut
		}
		response, done, err := c.visit(ctx, method, answer.place, data)
		if err != nil {
			return err
		}
		defer done()
		if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxExcuse)); err != nil {
			return &passing{err: fmt.Errorf("%s: the answer broke off: %w", response.Request.URL.Host, err)}
		}
		return nil
	})
}

// visit sends a request to a place and returns a good answer, or an error.
func (c *Client) visit(ctx context.Context, method string, where place, data []byte) (*http.Response, func(), error) {
	address, err := c.base.Parse(where.URL)
	if err != nil {
		return nil, nil, fmt.Errorf("the gateway named an address that is none: %w", plain(err))
	}
	ctx, cancel := context.WithTimeout(ctx, partTime)
	var content io.Reader
	if data != nil {
		content = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, address.String(), content)
	if err != nil {
		cancel()
		return nil, nil, plain(err)
	}
	for name, value := range where.Headers {
		request.Header.Set(name, value)
	}
	answer, err := c.send(request)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	done := func() { answer.Body.Close(); cancel() }
	if answer.StatusCode < http.StatusMultipleChoices {
		return answer, done, nil
	}
	defer done()
	return nil, nil, c.excuse(answer)
}
