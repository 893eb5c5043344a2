package definition

import "github.com/invopop/jsonschema"

// The functions below add the schemas of fields that are nodes.

func testTexts() *jsonschema.Schema {
	text := &jsonschema.Schema{Type: "string"}
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{text, {Type: "array", Items: text}}}
}

func onlyText(field string) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), Required: []string{field}, AdditionalProperties: jsonschema.FalseSchema}
	s.Properties.Set(field, &jsonschema.Schema{Type: "string"})
	return s
}

func testHeadersSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", AdditionalProperties: testTexts()}
}

func testBodySchema() *jsonschema.Schema {
	piece := []*jsonschema.Schema{{Type: "string"}, onlyText("base64")}
	return &jsonschema.Schema{OneOf: append(piece, &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{OneOf: piece}})}
}

func expectedHeadersSchema() *jsonschema.Schema {
	value := &jsonschema.Schema{OneOf: append(testTexts().OneOf, &jsonschema.Schema{Type: "null"}, onlyText("contains"))}
	return &jsonschema.Schema{Type: "object", AdditionalProperties: value}
}

func expectedBodySchema() *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, onlyText("base64"), onlyText("contains")}}
}

func sent(s *jsonschema.Schema) {
	setSchema(s, "headers", testHeadersSchema())
	setSchema(s, "trailers", testHeadersSchema())
	setSchema(s, "body", testBodySchema())
}

func (testRequest) JSONSchemaExtend(s *jsonschema.Schema)  { sent(s) }
func (testResponse) JSONSchemaExtend(s *jsonschema.Schema) { sent(s) }

func (testCallout) JSONSchemaExtend(s *jsonschema.Schema) {
	setSchema(s, "headers", testHeadersSchema())
	setSchema(s, "body", testBodySchema())
}

func came(s *jsonschema.Schema) {
	setSchema(s, "headers", expectedHeadersSchema())
	setSchema(s, "trailers", expectedHeadersSchema())
	setSchema(s, "body", expectedBodySchema())
}

func (expectedRequest) JSONSchemaExtend(s *jsonschema.Schema)  { came(s) }
func (expectedResponse) JSONSchemaExtend(s *jsonschema.Schema) { came(s) }
func (expectedCall) JSONSchemaExtend(s *jsonschema.Schema)     { came(s) }

func (testData) JSONSchemaExtend(s *jsonschema.Schema) {
	for _, side := range []string{"downstream", "upstream"} {
		setSchema(s, side, &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, onlyText("base64")}})
	}
}

func (expectedConnection) JSONSchemaExtend(s *jsonschema.Schema) {
	setSchema(s, "downstream", expectedBodySchema())
	setSchema(s, "upstream", expectedBodySchema())
}

func (testStream) JSONSchemaExtend(s *jsonschema.Schema) { propertiesSchema(s) }
func (testCase) JSONSchemaExtend(s *jsonschema.Schema)   { propertiesSchema(s) }

func propertiesSchema(s *jsonschema.Schema) {
	of := &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}, {Type: "object"}}}
	setSchema(s, "properties", &jsonschema.Schema{Type: "object", AdditionalProperties: of})
}
