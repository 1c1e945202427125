/// A value under test, wrapped in a class so that `#expect` can call its mutating methods.
package final class Subject<Value> {
    private var value: Value

    package init(_ value: Value) {
        self.value = value
    }

    /// Calls a function with the value, which the function may change.
    package func callAsFunction<Result>(_ change: (inout Value) throws -> Result) rethrows -> Result {
        try change(&value)
    }
}
