import Cistern
