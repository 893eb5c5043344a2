package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"wasmxds/printable"
	"wasmxds/rollout"
)

// Client is a client of the API of a running xds-server.
type Client struct {
	URL  string // admin address: "http://127.0.0.1:19000"
	HTTP *http.Client
}

// Status returns the whole document, with all pages of nodes.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	var whole *Status
	for after := ""; ; {
		page, err := c.Page(ctx, after, maxNodes)
		if err != nil {
			return nil, err
		}
		if whole == nil {
			whole = page
		} else {
			whole.Nodes = append(whole.Nodes, page.Nodes...)
		}
		if page.Next == "" || page.Next == after {
			whole.Next = ""
			return whole, nil
		}
		after = page.Next
	}
}

// Page returns the document with up to limit nodes after the one with an id.
func (c *Client) Page(ctx context.Context, after string, limit int) (*Status, error) {
	page := new(Status)
	at := "/api/v1/status?" + url.Values{"after": {after}, "limit": {fmt.Sprint(limit)}}.Encode()
	if err := c.ask(ctx, http.MethodGet, at, nil, page); err != nil {
		return nil, fmt.Errorf("ask for the status: %w", err)
	}
	return page, nil
}

// Service returns what a bootstrap contains of a service.
func (c *Client) Service(ctx context.Context, name string) (*Service, error) {
	service := new(Service)
	if err := c.ask(ctx, http.MethodGet, "/api/v1/services/"+url.PathEscape(name), nil, service); err != nil {
		return nil, fmt.Errorf("ask for the service %s: %w", printable.Text(name), err)
	}
	return service, nil
}

// Rollouts returns all changes.
func (c *Client) Rollouts(ctx context.Context) (*Rollouts, error) {
	all := new(Rollouts)
	if err := c.ask(ctx, http.MethodGet, "/api/v1/rollouts", nil, all); err != nil {
		return nil, fmt.Errorf("ask for rollouts: %w", err)
	}
	return all, nil
}

// Command sends a command to a change.
func (c *Client) Command(ctx context.Context, verb rollout.Verb, id string, o CommandOptions) (*Operation, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("write the options of %s: %w", verb, err)
	}
	done := new(Operation)
	at := "/api/v1/rollouts/" + url.PathEscape(id) + "/" + url.PathEscape(string(verb))
	if err := c.ask(ctx, http.MethodPost, at, body, done); err != nil {
		return nil, fmt.Errorf("%s %s: %w", verb, printable.Text(id), err)
	}
	return done, nil
}

// Refused is an unsuccessful response of xds-server.
type Refused struct {
	URL, Status, Text string
	Code              int // HTTP status
}

func (r *Refused) Error() string { return fmt.Sprintf("%s answers %s: %s", r.URL, r.Status, r.Text) }

// maxAnswer bounds how many bytes of an unsuccessful response are read.
const maxAnswer = 2000

// ask sends a request and parses the document in the response.
func (c *Client) ask(ctx context.Context, method, path string, body []byte, document any) error {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		return &Refused{URL: c.URL, Status: resp.Status, Code: resp.StatusCode, Text: printable.Text(strings.TrimSpace(string(text)))}
	}
	if err := json.NewDecoder(resp.Body).Decode(document); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.URL, err)
	}
	return nil
}
