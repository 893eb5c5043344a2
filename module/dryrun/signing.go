package dryrun

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // hashes that Envoy supports
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of the messages of verify_signature and sign.
const (
	verifyHash, verifyDER, verifySignatureField, verifyText, verifyPEM = 1, 2, 3, 4, 5
	signHash, signDER, signText, signPEM                               = 1, 2, 3, 4
)

var hashes = map[string]crypto.Hash{
	"sha1": crypto.SHA1, "sha224": crypto.SHA224, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512,
}

// der returns the key, which is in one of two fields.
func der(plain, armoured []byte) ([]byte, error) {
	if len(plain) > 0 == (len(armoured) > 0) {
		return nil, errors.New("neither one nor the other")
	}
	if len(plain) > 0 {
		return plain, nil
	}
	block, _ := pem.Decode(armoured)
	if block == nil {
		return nil, errors.New("no PEM")
	}
	return block.Bytes, nil
}

func verifySignature(_ *host, arguments []byte) ([]byte, status) {
	m, err := fields(arguments)
	if err != nil {
		return nil, badArgument
	}
	b, err := der(m.bytes[verifyDER], m.bytes[verifyPEM])
	if err != nil {
		return nil, badArgument
	}
	key, err := x509.ParsePKIXPublicKey(b)
	if err != nil {
		return nil, badArgument
	}
	hash, known := hashes[strings.ToLower(string(m.bytes[verifyHash]))]
	if !known {
		return verified(string(m.bytes[verifyHash]) + " is not supported."), ok
	}
	text, signature := digest(hash, m.bytes[verifyText]), m.bytes[verifySignatureField]
	good := false
	switch key := key.(type) {
	case *rsa.PublicKey:
		good = rsa.VerifyPKCS1v15(key, hash, text, signature) == nil
	case *ecdsa.PublicKey:
		good = ecdsa.VerifyASN1(key, text, signature)
	case ed25519.PublicKey:
		return verified("Failed to initialize digest verify."), ok
	}
	if !good {
		return verified("Failed to verify digest. Error code: 0"), ok
	}
	return verified(""), ok
}

// verified is the result of verify_signature.
func verified(failure string) []byte {
	if failure == "" {
		return protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)
	}
	return protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), failure)
}

func sign(_ *host, arguments []byte) ([]byte, status) {
	m, err := fields(arguments)
	if err != nil {
		return nil, badArgument
	}
	b, err := der(m.bytes[signDER], m.bytes[signPEM])
	if err != nil {
		return nil, badArgument
	}
	key, err := x509.ParsePKCS8PrivateKey(b)
	if err != nil {
		if key, err = x509.ParsePKCS1PrivateKey(b); err != nil {
			return nil, badArgument
		}
	}
	signer, can := key.(crypto.Signer)
	hash, known := hashes[strings.ToLower(string(m.bytes[signHash]))]
	if !can || !known {
		return protowire.AppendString(protowire.AppendTag(nil, 3, protowire.BytesType), string(m.bytes[signHash])+" is not supported."), ok
	}
	signature, err := signer.Sign(rand.Reader, digest(hash, m.bytes[signText]), hash)
	if err != nil {
		return protowire.AppendString(protowire.AppendTag(nil, 3, protowire.BytesType), "Failed to create signature."), ok
	}
	out := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)
	return protowire.AppendBytes(protowire.AppendTag(out, 2, protowire.BytesType), signature), ok
}

func digest(hash crypto.Hash, text []byte) []byte {
	h := hash.New()
	h.Write(text)
	return h.Sum(nil)
}
