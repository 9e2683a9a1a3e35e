module hearth-bench/server

go 1.26.0

require hearth-bench/function v0.0.0

replace hearth-bench/function => ../../functions/go
