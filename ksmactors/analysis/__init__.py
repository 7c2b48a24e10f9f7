"""Questions asked of logs: races, contention, findings, trees and nodes, the life of a page; SQL."""
