"""Queries on logs: races, contention, findings, trees and nodes, the history of a page; SQL."""
