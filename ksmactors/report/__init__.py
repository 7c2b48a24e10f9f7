"""The page for the browser: events and findings as one self-contained HTML file.

`columns` packs events, `findings` replays and shrinks a finding, `shapes` records trees and searches, `functions` says
where kernel functions are here, `page` puts the file together. `page/` has our script and style, `vendor/` has Apache
ECharts 6.1.0 with its licence. Nothing of the page is built: what is in these folders is what a reader gets.
"""
