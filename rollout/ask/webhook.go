package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// opinion is what a webhook answers.
type opinion struct {
	Verdict string `json:"verdict"` // "good", "bad" or "none"
	Reason  string `json:"reason"`
}

// webhook sends the change to a server, and takes its opinion.
func (a *Asker) webhook(ctx context.Context, j *definition.WebhookJudge, c Change) rollout.VerdictStatus {
	told, err := json.Marshal(c)
	if err != nil {
		return unable("write the change: %v", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.URL, bytes.NewReader(told))
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
		return rollout.VerdictStatus{Verdict: rollout.Good, Words: saying("good", said.Reason)}
	case "bad":
		return rollout.VerdictStatus{Verdict: rollout.Bad, Words: saying("bad", said.Reason)}
	case "none":
		return rollout.VerdictStatus{Verdict: rollout.NoTraffic, Words: saying("none", said.Reason)}
	}
	return unable("%s answers no verdict of good, bad and none", host(req.URL))
}

func saying(verdict, reason string) string {
	if reason == "" {
		return "the webhook says " + verdict
	}
	return "the webhook says " + verdict + ": " + reason
}
