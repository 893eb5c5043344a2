package signedtest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"

	"wasmxds/module"
)

// Authority is a Sigstore instance for tests: it certifies identities, and has
// a log.
type Authority struct {
	t  testing.TB
	ca *ca.VirtualSigstore
}

// NewAuthority returns an Authority.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	made, err := ca.NewVirtualSigstore()
	must(t, err)
	return &Authority{t, made}
}

// Root returns its trusted root. With certificate transparency, its
// certificates are not valid, because they are in no certificate log.
func (a *Authority) Root(transparency bool) string {
	a.t.Helper()
	var certificates map[string]*root.TransparencyLog
	if transparency {
		certificates = withIDs(a.t, a.ca.CTLogs())
	}
	made, err := root.NewTrustedRoot(root.TrustedRootMediaType01, a.ca.FulcioCertificateAuthorities(), certificates, nil, withIDs(a.t, a.ca.RekorLogs()))
	must(a.t, err)
	text, err := made.MarshalJSON()
	must(a.t, err)
	return string(text)
}

// withIDs sets the ids of logs to bytes, as in a stored root.
func withIDs(t testing.TB, logs map[string]*root.TransparencyLog) map[string]*root.TransparencyLog {
	for id, log := range logs {
		raw, err := hex.DecodeString(id)
		must(t, err)
		log.ID = raw
	}
	return logs
}

// Cosign signs a payload as cosign does without a key, at a time after its
// certificate was issued, which is valid for ten minutes.
func (a *Authority) Cosign(payload []byte, identity, issuer string, after time.Duration) module.Signature {
	a.t.Helper()
	e, err := a.ca.SignAtTime(identity, issuer, payload, time.Now().Add(after))
	must(a.t, err)
	content, err := e.SignatureContent()
	must(a.t, err)
	return module.Signature{
		Payload: payload, Signature: base64.StdEncoding.EncodeToString(content.Signature()),
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate(e)})),
		Log:         a.logged(e),
	}
}

func (a *Authority) certificate(e *ca.TestEntity) []byte {
	v, err := e.VerificationContent()
	must(a.t, err)
	return v.Certificate().Raw
}

// logged returns the response of Rekor to cosign.
func (a *Authority) logged(e *ca.TestEntity) string {
	entry := a.entry(e)
	said := tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(entry.CanonicalizedBody), IntegratedTime: entry.IntegratedTime,
		LogIndex: entry.LogIndex, LogID: hex.EncodeToString(entry.LogId.KeyId),
	}
	signed, err := a.ca.RekorSignPayload(said)
	must(a.t, err)
	text, err := json.Marshal(map[string]any{"SignedEntryTimestamp": signed, "Payload": said})
	must(a.t, err)
	return string(text)
}

func (a *Authority) entry(e *ca.TestEntity) *protorekor.TransparencyLogEntry {
	entries, err := e.TlogEntries()
	must(a.t, err)
	entry := entries[0].TransparencyLogEntry()
	var kind struct{ Kind, APIVersion string }
	must(a.t, json.Unmarshal(entry.CanonicalizedBody, &kind))
	entry.KindVersion = &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion}
	return entry
}

// Bundle signs a statement in a bundle, with an inclusion proof of the log, and
// its promise, which attests a time after the certificate was issued.
func (a *Authority) Bundle(statement []byte, identity, issuer string, after time.Duration) module.Signature {
	a.t.Helper()
	e, err := a.ca.AttestAtTime(identity, issuer, statement, time.Now().Add(after), true)
	must(a.t, err)
	content, err := e.SignatureContent()
	must(a.t, err)
	entry := a.entry(e)
	signed, err := a.ca.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(entry.CanonicalizedBody), IntegratedTime: entry.IntegratedTime,
		LogIndex: entry.LogIndex, LogID: hex.EncodeToString(entry.LogId.KeyId),
	})
	must(a.t, err)
	entry.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: signed}
	return bundleOf(a.t, &protobundle.Bundle{
		MediaType: bundleType,
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content:     &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: a.certificate(e)}},
			TlogEntries: []*protorekor.TransparencyLogEntry{entry},
		},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: statement, PayloadType: statementType,
			Signatures: []*protodsse.Signature{{Sig: content.Signature()}},
		}},
	})
}
