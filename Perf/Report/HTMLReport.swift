internal import Foundation
struct HTMLReport {
    init(_ result: PerfResult, columns: [Metric], comparison: Comparison?) {}
    func write(to path: String) throws(PerfError) {}
}
