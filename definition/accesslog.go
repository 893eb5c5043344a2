package definition

// LogFields returns the fields of Envoy's default log format under the names
// that they have in JSON logs.
func LogFields() map[string]string {
	return map[string]string{
		"start_time":            "%START_TIME%",
		"method":                "%REQ(:METHOD)%",
		"path":                  "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
		"protocol":              "%PROTOCOL%",
		"response_code":         "%RESPONSE_CODE%",
		"response_flags":        "%RESPONSE_FLAGS%",
		"bytes_received":        "%BYTES_RECEIVED%",
		"bytes_sent":            "%BYTES_SENT%",
		"duration":              "%DURATION%",
		"upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
		"x_forwarded_for":       "%REQ(X-FORWARDED-FOR)%",
		"user_agent":            "%REQ(USER-AGENT)%",
		"request_id":            "%REQ(X-REQUEST-ID)%",
		"authority":             "%REQ(:AUTHORITY)%",
		"upstream_host":         "%UPSTREAM_HOST%",
	}
}
