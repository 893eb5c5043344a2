package xds_test

import (
	"reflect"
	"testing"

	"wasmxds/xds"
)

// TestPlus checks that a sum of counts includes every field.
func TestPlus(t *testing.T) {
	fill := func(count any) {
		for v, i := reflect.ValueOf(count).Elem(), 0; i < v.NumField(); i++ {
			v.Field(i).SetInt(int64(i + 1))
		}
	}
	twice := func(sum, one any) {
		t.Helper()
		for s, o, i := reflect.ValueOf(sum), reflect.ValueOf(one), 0; i < s.NumField(); i++ {
			if s.Field(i).Int() != 2*o.Field(i).Int() {
				t.Errorf("%s of %T is %d, want %d", s.Type().Field(i).Name, sum, s.Field(i).Int(), 2*o.Field(i).Int())
			}
		}
	}
	var nodes xds.NodeCount
	fill(&nodes)
	twice(nodes.Plus(nodes), nodes)
	var filter xds.FilterCount
	fill(&filter)
	twice(filter.Plus(filter), filter)
}
