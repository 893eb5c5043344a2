package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"wasmxds/rollout"
)

// Change is a change in progress, as sent to webhooks.
type Change struct {
	ID          string       `json:"id"`
	Policy      string       `json:"policy"`
	Wave        int          `json:"wave"` // from 1
	Waves       int          `json:"waves"`
	Definitions []Definition `json:"definitions"`
	Nodes       []string     `json:"nodes"`   // IDs of the Envoys that should have it, at most a thousand
	Reached     int          `json:"reached"` // the number of all of these
}

// Definition is one of the definitions that a change consists of.
type Definition struct {
	Kind string `json:"kind"` // "filter", "listener", or a type URL
	Name string `json:"name"`
	What string `json:"what"` // "added", "changed" or "removed"
}

// changeOf returns what a webhook is sent.
func changeOf(l rollout.Look) Change {
	c := Change{
		ID: l.Change, Policy: l.Policy.Name, Wave: l.Wave, Waves: len(l.Policy.Waves),
		Definitions: make([]Definition, 0, len(l.Definitions)), Nodes: append([]string{}, l.Nodes...), Reached: l.Reached,
	}
	for _, d := range l.Definitions {
		c.Definitions = append(c.Definitions, Definition{Kind: d.Kind, Name: d.Name, What: d.What})
	}
	return c
}

// opinion is the answer of a webhook.
type opinion struct {
	Verdict string `json:"verdict"` // "good", "bad" or "none"
	Reason  string `json:"reason"`
}

// webhook sends the change to a server and returns its verdict.
func (a *Asker) webhook(ctx context.Context, l rollout.Look) (rollout.Verdict, string) {
	told, err := json.Marshal(changeOf(l))
	if err != nil {
		return unable("write the change: %v", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.Ask.Webhook.URL, bytes.NewReader(told))
	if err != nil {
		return unable("the URL is none")
	}
	req.Header.Set("Content-Type", "application/json")
	status, body, err := a.do(req, maxWebhook)
	switch {
	case err != nil:
		return unable("%v", err)
	case status/100 != 2:
		return unable("%v", answers(req.URL, status))
	}
	var said opinion
	if json.Unmarshal(body, &said) != nil {
		return unable("what %s answers is not JSON with verdict and reason", host(req.URL))
	}
	switch said.Verdict {
	case "good":
		return rollout.Good, saying("good", said.Reason)
	case "bad":
		return rollout.Bad, saying("bad", said.Reason)
	case "none":
		return rollout.NoTraffic, saying("none", said.Reason)
	}
	return unable("%s answers no verdict of good, bad and none", host(req.URL))
}

func saying(verdict, reason string) string {
	if reason == "" {
		return "the webhook says " + verdict
	}
	return "the webhook says " + verdict + ": " + reason
}
