package definition

import (
	"encoding/json"

	"github.com/invopop/jsonschema"
)

// The functions below add the schemas of fields that are nodes.

func countSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "integer", Minimum: json.Number("1"), Maximum: json.Number("1000000")}
}

func percentSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: percentPattern}
}

func setSchema(of *jsonschema.Schema, field string, s *jsonschema.Schema) {
	if was, ok := of.Properties.Get(field); ok {
		s.Description = was.Description
	}
	of.Properties.Set(field, s)
}

func (rollout) JSONSchemaExtend(s *jsonschema.Schema) {
	labels := &jsonschema.Schema{
		Type: "object", Properties: jsonschema.NewProperties(), Required: []string{"labels"},
		AdditionalProperties: jsonschema.FalseSchema, Description: "Envoys with all of these labels.",
	}
	one := uint64(1)
	labels.Properties.Set("labels", &jsonschema.Schema{Type: "object", MinProperties: &one, AdditionalProperties: &jsonschema.Schema{Type: "string"}})
	count, share := countSchema(), percentSchema()
	count.Description = "So many Envoys."
	share.Description = "A share of the Envoys."
	waves, _ := s.Properties.Get("waves")
	waves.Items = &jsonschema.Schema{OneOf: []*jsonschema.Schema{labels, count, share}}
	setSchema(s, "bake", &jsonschema.Schema{Type: "string"})
}

func (rolloutStop) JSONSchemaExtend(s *jsonschema.Schema) {
	for _, field := range []string{"refused", "crashes", "restarts"} {
		setSchema(s, field, countSchema())
	}
}

func (errorRise) JSONSchemaExtend(s *jsonschema.Schema) {
	setSchema(s, "more", percentSchema())
	setSchema(s, "confidence", percentSchema())
}

func (latencyRise) JSONSchemaExtend(s *jsonschema.Schema) {
	setSchema(s, "more", percentSchema())
	setSchema(s, "confidence", percentSchema())
	setSchema(s, "p", &jsonschema.Schema{Type: "number", ExclusiveMinimum: json.Number("0"), ExclusiveMaximum: json.Number("100")})
}

func (prometheusJudge) JSONSchemaExtend(s *jsonschema.Schema) {
	setSchema(s, "max", &jsonschema.Schema{Type: "number"})
}
