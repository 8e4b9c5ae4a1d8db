/* route */
#include "relaypool.h"
