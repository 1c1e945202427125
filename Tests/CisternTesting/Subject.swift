/// Holds a value under test, so that calls that change it may stand in an expectation.
package final class Subject<Value> {
    private var value: Value

    package init(_ value: Value) {
        self.value = value
    }

    /// Changes the value, or asks it something.
    package func callAsFunction<Result>(_ change: (inout Value) throws -> Result) rethrows -> Result {
        try change(&value)
    }
}
